# Included by llama-cpp-python's CMake project (CMAKE_PROJECT_llama_cpp_INCLUDE). Its build forces llama.cpp's
# command-line helper library on; a plain variable of the same name hides the forced cache entry (CMP0126), so that
# only the libraries which Python loads are compiled: about half the time.
set(LLAMA_BUILD_COMMON OFF)
