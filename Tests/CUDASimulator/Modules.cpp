// Modules, functions and launches.
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <map>

#include "Configuration.h"
#include "Execution.h"
#include "Image.h"
#include "Streams.h"

namespace simulator {
namespace {

struct Module {
  void *library = nullptr;
  int file = -1;

  Module() = default;
  Module(const Module &) = delete;
  ~Module() {
    if (library) dlclose(library);
    if (file >= 0) close(file);
  }
};

struct Function {
  std::shared_ptr<Module> module;
  const Kernel *kernel;
  std::string name;
  int most_shared = 48 << 10;
};

std::map<tc_CUmodule, std::shared_ptr<Module>> modules;
std::map<tc_CUfunction, std::shared_ptr<Function>> functions;

// Numbers of CUfunction_attribute.
constexpr int attribute_threads = 0;

// Whether `bytes` at `image` begin like a header; stops at the first byte that does not, as there may be no more.
bool has_magic(const char *image) {
  for (size_t i = 0; i < sizeof image_magic; i++)
    if (image[i] != image_magic[i]) return false;
  return true;
}

// Copies the library to a file in memory. The kernel reads for us, so a header that promises more bytes than there are
// is an error, not a fault.
int write_library(const char *bytes, size_t count) {
  int file = memfd_create("turbocam-kernels", MFD_CLOEXEC);
  for (size_t written = 0; file >= 0 && written < count;) {
    ssize_t part = write(file, bytes + written, count - written);
    if (part <= 0) {
      close(file);
      return -1;
    }
    written += (size_t)part;
  }
  return file;
}

bool has_hash(int file, const ImageHeader &header) {
  void *bytes = mmap(nullptr, header.bytes, PROT_READ, MAP_PRIVATE, file, 0);
  if (bytes == MAP_FAILED) return false;
  bool same = image_hash((const char *)bytes, header.bytes) == header.hash;
  munmap(bytes, header.bytes);
  return same;
}

// A CUBIN runs on its own major version, from its own minor one on; PTX on all later ones.
bool runs_on(const ImageHeader &header, int arch) {
  int own = (int)header.arch;
  return header.portable ? own <= arch : own / 10 == arch / 10 && own <= arch;
}

// A driver takes PTX that is no newer than it is, and a CUBIN of its own major version or an earlier one.
int refusal(const ImageHeader &header) {
  uint64_t driver = (uint64_t)configuration().driver;
  if (header.portable) return header.version > driver ? unsupported_ptx_version : success;
  return header.version / 1000 > driver / 1000 ? invalid_image : success;
}

int load(const char *image, int arch, std::shared_ptr<Module> &module) {
  if (!has_magic(image)) return invalid_image;
  ImageHeader header;
  memcpy(&header, image, sizeof header);
  if (header.bytes == 0 || header.bytes > (size_t)1 << 30) return invalid_image;
  module = std::make_shared<Module>();
  module->file = write_library(image + sizeof header, header.bytes);
  if (module->file < 0 || !has_hash(module->file, header)) return invalid_image;
  if (!runs_on(header, arch)) return no_binary_for_gpu;
  if (int refused = refusal(header)) return refused;
  // The file stays open as long as the library: dlopen would take another library with the same path for this one.
  std::string path = "/proc/self/fd/" + std::to_string(module->file);
  module->library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!module->library) {
    fprintf(stderr, "CUDA simulator: %s\n", dlerror());
    return invalid_image;
  }
  return success;
}

bool fits(const Index &size, unsigned x, unsigned y, unsigned z) {
  return size.x >= 1 && size.y >= 1 && size.z >= 1 && size.x <= x && size.y <= y && size.z <= z;
}

}  // namespace
}  // namespace simulator

using namespace simulator;

CUDA_API(cuModuleLoadDataEx, tc_CUmodule *handle, const void *image, unsigned, int *, void **) {
  BEGIN("module");
  if (int refused = refuse_in_capture()) return refused;
  if (!handle || !image) return invalid_value;
  std::shared_ptr<Module> module;
  int arch = configuration().archs[(size_t)current_context()->device];
  if (int error = load((const char *)image, arch, module)) return error;
  *handle = (tc_CUmodule)module.get();
  modules[*handle] = module;
  return success;
}

CUDA_API(cuModuleGetFunction, tc_CUfunction *handle, tc_CUmodule module, const char *name) {
  BEGIN("function");
  auto found = modules.find(module);
  if (found == modules.end()) return invalid_handle;
  if (!handle || !name) return invalid_value;
  for (auto &[known, function] : functions)
    if (function->module == found->second && function->name == name) return *handle = known, success;
  auto *kernel = (const Kernel *)dlsym(found->second->library, (std::string(name) + "_kernel").c_str());
  if (!kernel) return not_found;
  auto function = std::make_shared<Function>();
  function->module = found->second;
  function->kernel = kernel;
  function->name = name;
  *handle = (tc_CUfunction)function.get();
  functions[*handle] = function;
  return success;
}

CUDA_API(cuFuncGetAttribute, int *value, int attribute, tc_CUfunction handle) {
  BEGIN("function");
  auto found = functions.find(handle);
  if (found == functions.end()) return invalid_handle;
  if (!value) return invalid_value;
  switch (attribute) {
    case attribute_threads: *value = (int)found->second->kernel->most_threads; break;
    case TC_CUDA_FUNCTION_MOST_SHARED: *value = found->second->most_shared; break;
    // A processor's registers say nothing.
    case TC_CUDA_FUNCTION_LOCAL_BYTES: case TC_CUDA_FUNCTION_REGISTERS: *value = 0; break;
    default: return invalid_value;
  }
  return success;
}

CUDA_API(cuFuncSetAttribute, tc_CUfunction handle, int attribute, int value) {
  BEGIN("function");
  auto found = functions.find(handle);
  if (found == functions.end()) return invalid_handle;
  if (attribute != TC_CUDA_FUNCTION_MOST_SHARED) return attribute == 9 ? success : invalid_value;  // 9: carve-out
  if (value < 0 || value > most_shared_bytes(current_context()->device)) return invalid_value;
  found->second->most_shared = value;
  return success;
}

namespace {

// `state` is held.
int launch_kernel(const tc_CUlaunchConfig &config, tc_CUfunction handle, void **parameters, void **extra) {
  auto found = functions.find(handle);
  std::shared_ptr<Stream> stream = find_stream(config.stream);
  if (found == functions.end() || !stream) return invalid_handle;
  const Function &function = *found->second;
  Launch launch;
  launch.kernel = function.kernel;
  launch.name = function.name;
  launch.grid = {config.grid_x, config.grid_y, config.grid_z};
  launch.block = {config.block_x, config.block_y, config.block_z};
  launch.shared_bytes = config.shared_bytes;
  launch.device = stream->context->device;
  for (unsigned i = 0; i < config.attribute_count; i++) {
    if (config.attributes[i].id != TC_CUDA_LAUNCH_OVERLAPPING) return invalid_value;
    launch.overlaps = config.attributes[i].value != 0;
  }
  if (launch.overlaps && configuration().archs[(size_t)launch.device] < 90) return operation_unsupported;
  if (!fits(launch.grid, 2147483647, 65535, 65535) || !fits(launch.block, 1024, 1024, 64)) return invalid_value;
  if ((uint64_t)config.block_x * config.block_y * config.block_z > launch.kernel->most_threads) return invalid_value;
  if (launch.kernel->most_threads > most_threads || launch.shared_bytes > (size_t)function.most_shared)
    return invalid_value;
  if (!parameters || !parameters[0] || extra) return invalid_value;
  launch.parameters.resize((launch.kernel->parameter_bytes + sizeof(ParameterLine) - 1) / sizeof(ParameterLine));
  memcpy(launch.parameters.data(), parameters[0], launch.kernel->parameter_bytes);
  return submit(stream, [launch, module = function.module]() mutable {
    if (int error = injected("kernel")) return error;
    std::unique_lock lock(state);
    launch.seed = next_seed();
    lock.unlock();
    return execute(launch);
  });
}

}  // namespace

CUDA_API(cuLaunchKernel, tc_CUfunction handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
         unsigned block_y, unsigned block_z, unsigned shared_bytes, tc_CUstream stream, void **parameters,
         void **extra) {
  BEGIN("launch");
  tc_CUlaunchConfig config = {grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream, nullptr, 0};
  return launch_kernel(config, handle, parameters, extra);
}

CUDA_API(cuLaunchKernelEx, const tc_CUlaunchConfig *config, tc_CUfunction handle, void **parameters, void **extra) {
  BEGIN("launch");
  if (!config || (config->attribute_count && !config->attributes)) return invalid_value;
  if (config->attribute_count) {
    if (int error = injected("overlap")) return error;
  }
  return launch_kernel(*config, handle, parameters, extra);
}
