# Included by llama-cpp-python's CMake project (CMAKE_PROJECT_llama_cpp_INCLUDE). Its build forces llama.cpp's
# command-line helper library on; a plain variable of the same name hides the forced cache entry (CMP0126), so that
# only the libraries which Python loads are compiled: about half the time.
set(LLAMA_BUILD_COMMON OFF)

# A build for this very CPU uses AMX where the compiler knows it. GCC before 13 takes all but the first eight bytes of a
# tile configuration that is made on the stack for unused and leaves them out, as llama.cpp makes it: the first matrix
# product then ends the process with an illegal instruction. So AMX is used only where a configuration arrives whole.
if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  include(CheckCXXSourceRuns)
  set(CMAKE_REQUIRED_FLAGS "-O3 -march=native")
  check_cxx_source_runs([[
#if defined(__AMX_TILE__) && defined(__linux__)
#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
struct Config { unsigned char palette, start, reserved[14]; unsigned short columns[16]; unsigned char rows[16]; };
static inline void configure() {
  alignas(64) Config config = {};
  config.palette = 1;
  for (int i = 0; i < 8; i++) { config.columns[i] = 64; config.rows[i] = i < 2 ? 8 : 16; }
  _tile_loadconfig(&config);
}
int main() {
  if (syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* XTILEDATA */)) return 1;
  configure();
  alignas(64) Config stored = {};
  _tile_storeconfig(&stored);
  alignas(64) static signed char tile[1024];
  _tile_zero(2);
  _tile_loadd(0, tile, 64);
  for (int i = 0; i < 8; i++) if (stored.columns[i] != 64 || stored.rows[i] != (i < 2 ? 8 : 16)) return 1;
  return 0;
}
#else
int main() { return 0; }
#endif
]] TRILEMMA_AMX_WORKS)
  unset(CMAKE_REQUIRED_FLAGS)
  if(NOT TRILEMMA_AMX_WORKS)
    add_compile_options(-mno-amx-tile -mno-amx-int8 -mno-amx-bf16)
  endif()
endif()
