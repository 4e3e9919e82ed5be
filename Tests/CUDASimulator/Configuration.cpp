#include "Configuration.h"

#include "CUDASimulator.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>

namespace simulator {
namespace {

struct Fault {
  std::string call;
  uint64_t number;  // 0: every call
  int error;
};

Configuration values;
std::vector<Fault> faults;
std::map<std::string, uint64_t> calls;
thread_local std::map<std::string, long> own_calls;  // of this thread, faults or not
std::map<std::string, std::string> settings;  // in the place of the environment's
std::mutex mutex;
std::once_flag first;

const char *setting(const char *name) {
  auto found = settings.find(name);
  return found == settings.end() ? getenv(name) : found->second.c_str();
}

uint64_t number(const char *name, uint64_t otherwise) {
  const char *text = setting(name);
  char *end;
  if (!text || !*text) return otherwise;
  uint64_t value = strtoull(text, &end, 10);
  return *end ? otherwise : value;
}

std::vector<std::string> list(const char *name) {
  const char *text = setting(name);
  std::stringstream stream(text ? text : "");
  std::vector<std::string> parts;
  for (std::string part; std::getline(stream, part, ',');)
    if (!part.empty()) parts.push_back(part);
  return parts;
}

void read() {
  std::vector<std::string> archs = list("TURBOCAM_SIMULATOR_ARCH");
  if (archs.empty()) archs.push_back("80");
  values.archs.clear();
  uint64_t devices = number("TURBOCAM_SIMULATOR_DEVICES", 1);
  for (size_t i = 0; i < devices && i < 64; i++)
    values.archs.push_back(atoi(archs[i < archs.size() ? i : archs.size() - 1].c_str()));
  values.driver = (int)number("TURBOCAM_SIMULATOR_DRIVER", 12040);
  values.nvrtc = (int)number("TURBOCAM_SIMULATOR_NVRTC", 12040);
  values.memory_bytes = number("TURBOCAM_SIMULATOR_MEMORY", (uint64_t)16 << 30);
  values.host_bytes = number("TURBOCAM_SIMULATOR_HOST_MEMORY", SIZE_MAX);
  values.taken.clear();
  for (const std::string &part : list("TURBOCAM_SIMULATOR_TAKEN")) values.taken.push_back(atoi(part.c_str()));
  values.seed = number("TURBOCAM_SIMULATOR_SEED", 1);
  unsigned processors = std::thread::hardware_concurrency();
  values.threads = (unsigned)number("TURBOCAM_SIMULATOR_THREADS", processors ? processors : 1);
  if (values.threads == 0) values.threads = 1;
  faults.clear();
  calls.clear();
  for (const std::string &part : list("TURBOCAM_SIMULATOR_FAULT")) {
    size_t equals = part.find('='), at = part.find('@');
    if (equals == std::string::npos) continue;
    Fault fault;
    fault.call = part.substr(0, at < equals ? at : equals);
    fault.number = at < equals ? strtoull(part.c_str() + at + 1, nullptr, 10) : 0;
    fault.error = atoi(part.c_str() + equals + 1);
    faults.push_back(fault);
  }
}

}  // namespace

const Configuration &configuration() {
  std::call_once(first, read);
  return values;
}

void configure() {
  std::call_once(first, [] {});
  std::lock_guard lock(mutex);
  read();
}

int injected(const char *call) {
  own_calls[call]++;
  std::lock_guard lock(mutex);
  if (faults.empty()) return 0;
  uint64_t count = ++calls[call];
  for (const Fault &fault : faults)
    if (fault.call == call && (fault.number == 0 || fault.number == count)) return fault.error;
  return 0;
}

}  // namespace simulator

using namespace simulator;

extern "C" long turbocam_simulator_calls(const char *kind) { return own_calls[kind]; }

extern "C" void turbocam_simulator_set(const char *name, const char *value) {
  std::lock_guard lock(simulator::mutex);
  if (value)
    settings[name] = value;
  else
    settings.erase(name);
}
