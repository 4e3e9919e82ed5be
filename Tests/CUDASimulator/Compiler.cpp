// NVRTC's calls: the host's C++ compiler makes a shared library of a kernel's source, with the simulator's device.cuh in
// the place of the real one.
#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "API.h"
#include "Configuration.h"
#include "Embedded.h"
#include "Image.h"

extern char **environ;

#define NVRTC_API(name, ...)                                                                             \
  extern "C" __attribute__((visibility("default"))) int name(__VA_ARGS__);                               \
  static_assert(std::is_same<decltype(&name), tc_##name>::value, "not what driver.h declares");          \
  int name(__VA_ARGS__)

namespace {

// nvrtcResult
constexpr int success = 0, invalid_input = 3, invalid_program = 4, invalid_option = 5, compilation = 6, internal = 11;

const int archs[] = {75, 80, 86, 89, 90, 100, 120};

struct File {
  std::string name, text;
};

struct Program {
  std::string source, name, log, library;
  std::vector<File> headers;
  int arch = 0;
};

// A folder of its own for each compilation, which goes with all its files.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    const char *parent = getenv("TMPDIR");
    path = std::string(parent && *parent ? parent : "/tmp") + "/turbocam-simulator-XXXXXX";
    if (!mkdtemp(path.data())) path.clear();
  }
  TemporaryFolder(const TemporaryFolder &) = delete;
  ~TemporaryFolder() {
    if (path.empty()) return;
    if (DIR *folder = opendir(path.c_str())) {
      while (dirent *entry = readdir(folder)) unlinkat(dirfd(folder), entry->d_name, 0);
      closedir(folder);
    }
    rmdir(path.c_str());
  }
  std::string path;
};

bool write_file(const std::string &path, const char *text, size_t size) {
  int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return false;
  size_t written = 0;
  while (written < size) {
    ssize_t part = write(file, text + written, size - written);
    if (part <= 0) break;
    written += (size_t)part;
  }
  close(file);
  return written == size;
}

bool read_file(const std::string &path, std::string &text) {
  int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  char buffer[1 << 16];
  ssize_t part;
  text.clear();
  while ((part = read(file, buffer, sizeof buffer)) > 0) text.append(buffer, (size_t)part);
  close(file);
  return part == 0;
}

bool is_in_path(const std::string &program) {
  const char *path = getenv("PATH");
  std::string folders = path ? path : "/usr/bin:/bin";
  for (size_t begin = 0; begin <= folders.size();) {
    size_t end = folders.find(':', begin);
    if (end == std::string::npos) end = folders.size();
    if (access((folders.substr(begin, end - begin) + "/" + program).c_str(), X_OK) == 0) return true;
    begin = end + 1;
  }
  return false;
}

std::string compiler() {
  if (const char *chosen = getenv("TURBOCAM_SIMULATOR_CXX"); chosen && *chosen) return chosen;
  for (const char *known : {"clang++", "g++"})
    if (is_in_path(known)) return known;
  return "c++";
}

// A file's name must stay in the folder.
bool is_plain(const std::string &name) {
  return !name.empty() && name[0] != '.' && name.find('/') == std::string::npos;
}

// Runs the compiler, with all it says in a file. False where it could not be run or was not content.
bool run(const std::vector<std::string> &arguments, const std::string &log) {
  std::vector<char *> pointers;
  for (const std::string &argument : arguments) pointers.push_back((char *)argument.c_str());
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t child;
  int error = posix_spawnp(&child, pointers[0], &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error) {
    std::string text = arguments[0] + ": " + strerror(error) + "\n";
    write_file(log, text.data(), text.size());
    return false;
  }
  int status;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return false;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// -arch=sm_80, -arch=compute_80, --gpu-architecture=sm_90a; 0 for what is none.
int arch_of(const std::string &option) {
  size_t begin = option.find('_');
  if (begin == std::string::npos) return 0;
  std::string kind = option.substr(option.find('=') + 1, begin - option.find('=') - 1);
  std::string number = option.substr(begin + 1);
  if (kind != "sm" && kind != "compute") return 0;
  if (number == "90a") return 90;
  for (int arch : archs)
    if (number == std::to_string(arch)) return arch;
  return 0;
}

bool begins(const std::string &text, const char *with) { return text.compare(0, strlen(with), with) == 0; }

// Takes over what the host's compiler understands too; false, with a log, for what NVRTC would refuse.
bool read_options(Program &program, int count, const char *const *options, std::vector<std::string> &arguments) {
  program.arch = 52;  // NVRTC's own default
  for (int i = 0; i < count; i++) {
    std::string option = options[i] ? options[i] : "";
    if (begins(option, "-arch=") || begins(option, "--gpu-architecture=")) {
      program.arch = arch_of(option);
      if (program.arch == 0) return program.log = "nvrtc: error: invalid value for --gpu-architecture: " + option, false;
    } else if (option == "-D" || option == "--define-macro") {
      if (++i == count) return program.log = "nvrtc: error: -D needs a value", false;
      arguments.push_back(std::string("-D") + options[i]);
    } else if (begins(option, "-D")) {
      arguments.push_back(option);
    } else if (begins(option, "--define-macro=")) {
      arguments.push_back("-D" + option.substr(15));
    } else if (begins(option, "-std=") || begins(option, "--std=")) {
      arguments.push_back("-std=" + option.substr(option.find('=') + 1));
    } else if (!begins(option, "--") && option != "-lineinfo" && option != "-use_fast_math" &&
               !begins(option, "-maxrregcount=") && option != "-default-device" && option != "-w") {
      return program.log = "nvrtc: error: unrecognized option " + option + " found", false;
    }
  }
  return true;
}

int compile(Program &program, int count, const char *const *options) {
  std::vector<std::string> arguments = {
      compiler(), "-x", "c++", "-std=c++17", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-fno-exceptions",
      "-fno-rtti", "-fno-math-errno", "-fno-trapping-math", "-fno-strict-aliasing", "-ffp-contract=fast", "-w",
      // Large frames touch each of their pages, so that they cannot step over the guard below a stack.
      "-fstack-clash-protection",
#if defined(__aarch64__)
      "-mcpu=native",
#else
      "-march=native",
#endif
  };
  if (!read_options(program, count, options, arguments)) return invalid_option;
  // 520 for NVRTC's default would compile what no GPU here runs, but that is the caller's business.
  arguments.push_back("-D__CUDA_ARCH__=" + std::to_string(program.arch * 10));
  arguments.push_back("-D__CUDACC_RTC__=1");

  TemporaryFolder folder;
  if (folder.path.empty()) return program.log = "cannot make a temporary folder", internal;
  std::vector<File> files = program.headers;
  files.push_back({"kernel.cu", "#line 1 \"" + program.name + "\"\n" + program.source});
  for (const tc_simulator_file &own : tc_simulator_files) files.push_back({own.name, {own.text, own.size}});
  for (const File &file : files)
    if (!is_plain(file.name) || !write_file(folder.path + "/" + file.name, file.text.data(), file.text.size()))
      return program.log = "cannot write " + file.name + " in " + folder.path, internal;

  arguments.insert(arguments.end(), {"-I", folder.path, "-o", folder.path + "/kernel.so", folder.path + "/kernel.cu"});
  bool done = run(arguments, folder.path + "/log") && read_file(folder.path + "/kernel.so", program.library);
  read_file(folder.path + "/log", program.log);
  return done ? success : compilation;
}

size_t image_size(const Program &program) { return sizeof(simulator::ImageHeader) + program.library.size(); }

void write_image(const Program &program, bool portable, char *to) {
  simulator::ImageHeader header;
  memcpy(header.magic, simulator::image_magic, sizeof header.magic);
  header.arch = (uint32_t)program.arch;
  header.portable = portable;
  header.version = (uint64_t)simulator::configuration().nvrtc;
  header.bytes = program.library.size();
  header.hash = simulator::image_hash(program.library.data(), program.library.size());
  memcpy(to, &header, sizeof header);
  memcpy(to + sizeof header, program.library.data(), program.library.size());
}

Program *own(tc_nvrtcProgram program) { return (Program *)program; }

}  // namespace

extern "C" __attribute__((visibility("default"))) const char *nvrtcGetErrorString(int result) {
  switch (result) {
    case success: return "NVRTC_SUCCESS";
    case 1: return "NVRTC_ERROR_OUT_OF_MEMORY";
    case 2: return "NVRTC_ERROR_PROGRAM_CREATION_FAILURE";
    case invalid_input: return "NVRTC_ERROR_INVALID_INPUT";
    case invalid_program: return "NVRTC_ERROR_INVALID_PROGRAM";
    case invalid_option: return "NVRTC_ERROR_INVALID_OPTION";
    case compilation: return "NVRTC_ERROR_COMPILATION";
    case internal: return "NVRTC_ERROR_INTERNAL_ERROR";
    default: return "NVRTC_ERROR unknown";
  }
}

NVRTC_API(nvrtcVersion, int *major, int *minor) {
  if (!major || !minor) return invalid_input;
  *major = simulator::configuration().nvrtc / 1000;
  *minor = simulator::configuration().nvrtc % 1000 / 10;
  return success;
}

NVRTC_API(nvrtcGetNumSupportedArchs, int *count) {
  if (!count) return invalid_input;
  *count = sizeof archs / sizeof archs[0];
  return success;
}

NVRTC_API(nvrtcGetSupportedArchs, int *supported) {
  if (!supported) return invalid_input;
  memcpy(supported, archs, sizeof archs);
  return success;
}

NVRTC_API(nvrtcCreateProgram, tc_nvrtcProgram *program, const char *source, const char *name, int headers,
          const char *const *texts, const char *const *names) {
  if (!program || !source || headers < 0 || (headers && (!texts || !names))) return invalid_input;
  auto *made = new Program;
  made->source = source;
  made->name = name ? name : "default_program";
  for (int i = 0; i < headers; i++) made->headers.push_back({names[i], texts[i]});
  *program = (tc_nvrtcProgram)made;
  return success;
}

NVRTC_API(nvrtcCompileProgram, tc_nvrtcProgram program, int count, const char *const *options) {
  if (!program) return invalid_program;
  if (count < 0 || (count && !options)) return invalid_input;
  return compile(*own(program), count, options);
}

NVRTC_API(nvrtcGetCUBINSize, tc_nvrtcProgram program, size_t *bytes) {
  if (!program) return invalid_program;
  if (!bytes) return invalid_input;
  *bytes = own(program)->library.empty() ? 0 : image_size(*own(program));
  return success;
}

NVRTC_API(nvrtcGetCUBIN, tc_nvrtcProgram program, char *cubin) {
  if (!program || own(program)->library.empty()) return invalid_program;
  if (!cubin) return invalid_input;
  write_image(*own(program), false, cubin);
  return success;
}

NVRTC_API(nvrtcGetPTXSize, tc_nvrtcProgram program, size_t *bytes) { return nvrtcGetCUBINSize(program, bytes); }

NVRTC_API(nvrtcGetPTX, tc_nvrtcProgram program, char *ptx) {
  if (!program || own(program)->library.empty()) return invalid_program;
  if (!ptx) return invalid_input;
  write_image(*own(program), true, ptx);
  return success;
}

NVRTC_API(nvrtcGetProgramLogSize, tc_nvrtcProgram program, size_t *bytes) {
  if (!program) return invalid_program;
  if (!bytes) return invalid_input;
  *bytes = own(program)->log.size() + 1;
  return success;
}

NVRTC_API(nvrtcGetProgramLog, tc_nvrtcProgram program, char *log) {
  if (!program) return invalid_program;
  if (!log) return invalid_input;
  memcpy(log, own(program)->log.c_str(), own(program)->log.size() + 1);
  return success;
}

NVRTC_API(nvrtcDestroyProgram, tc_nvrtcProgram *program) {
  if (!program || !*program) return invalid_program;
  delete own(*program);
  *program = nullptr;
  return success;
}
