# One static library per folder of src/ (`baleen_library`), and one GoogleTest program for the
# `*_test.cc` files beside its code. Folder arrows are checked by tools/check_arrows.py.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(GTest REQUIRED)
enable_testing()

# Folders whose code meets the thread pool: their tests also run under the thread sanitizer.
set(baleen_threaded_folders base model engine net sandbox_log)
add_custom_target(thread_tests)

add_library(baleen_options INTERFACE)
target_compile_features(baleen_options INTERFACE cxx_std_20)
target_include_directories(baleen_options INTERFACE ${PROJECT_SOURCE_DIR}/src)
# Options structs are filled by designated initialisers; the fields left out have defaults.
# -ffp-contract=off: a reference stays a reference; where a fused multiply-add is wanted it is written.
target_compile_options(baleen_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
    -Wno-missing-field-initializers -Werror -ffp-contract=off -fno-math-errno)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    target_compile_options(baleen_options INTERFACE -Wthread-safety)
endif()

include(${CMAKE_CURRENT_LIST_DIR}/quick_build.cmake)

# Folders that the fuzz targets link and that read what others wrote: libFuzzer sees their branches.
# -fsanitize=fuzzer-no-link would add trace-cmp, which doubled the time of tests of `text`.
set(baleen_fuzzed_folders base tensor model text net serve sandbox_log sandbox_image)
set(baleen_fuzz_options -fsanitize-coverage=inline-8bit-counters,pc-table)

# baleen_library(NAME [DEPS lib...] [TEST_DEPS lib...] [TEST_SHARDS n]): sources are all *.cc of the
# folder.
function(baleen_library name)
    cmake_parse_arguments(ARG "" "TEST_SHARDS" "DEPS;TEST_DEPS" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
    set(tests ${sources})
    list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
    list(FILTER tests INCLUDE REGEX "_test\\.cc$")
    if(sources)
        add_library(baleen_${name} STATIC ${sources})
        target_link_libraries(baleen_${name} PUBLIC baleen_options fmt::fmt Threads::Threads ${ARG_DEPS})
        if(name STREQUAL serve OR name STREQUAL agent)
            quick_build_light(baleen_${name})
        else()
            quick_build(baleen_${name})
        endif()
        if(BALEEN_FUZZ AND name IN_LIST baleen_fuzzed_folders)
            target_compile_options(baleen_${name} PRIVATE ${baleen_fuzz_options})
        endif()
    else()
        add_library(baleen_${name} INTERFACE)
        target_link_libraries(baleen_${name} INTERFACE baleen_options fmt::fmt Threads::Threads
            ${ARG_DEPS})
    endif()
    if(tests)
        set(labels unit)
        if(name IN_LIST baleen_threaded_folders)
            list(APPEND labels threads)
            add_dependencies(thread_tests ${name}_test)
        endif()
        baleen_test(${name}_test SOURCES ${tests} DEPS baleen_${name} ${ARG_TEST_DEPS}
            LABELS ${labels} SHARDS ${ARG_TEST_SHARDS})
    endif()
endfunction()

# give_processors(TEST label...): which processors a test may use under ctest -j.
# A thread pool whose processors others use too waits at every barrier for a thread that is not running
# (measured: four times the time for the same work). So each test is bound to one processor of its own,
# where the program's default is one thread. Tests labelled `threads` get all processors, two at least;
# under the address sanitizer they do without, since what it looks for does not depend on it.
function(give_processors test)
    if(threads IN_LIST ARGN AND NOT BALEEN_FUZZ)
        set_tests_properties(${test} PROPERTIES PROCESSORS 2)
    else()
        set_tests_properties(${test} PROPERTIES PROCESSOR_AFFINITY ON)
    endif()
endfunction()

# baleen_test(NAME SOURCES file... DEPS lib... LABELS unit|golden|e2e|slow|gpu|threads... [SHARDS n])
# A program that takes minutes is run as n tests, each with every n-th of its cases; they start
# before the others (COST), so that they are not what everybody waits for in the end.
function(baleen_test name)
    cmake_parse_arguments(ARG "" "SHARDS" "SOURCES;DEPS;LABELS" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gtest GTest::gtest_main)
    # What a test costs is in the libraries; -O3 would double the time that its own file takes to compile.
    target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
    if(name MATCHES "^(kernels|engine|text)_test$")  # minutes of computing in the tests themselves
        quick_build(${name})
    else()
        quick_build_light(${name})
    endif()
    if(NOT ARG_SHARDS)
        add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
        set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 1800)
        give_processors(${name} ${ARG_LABELS})
        return()
    endif()
    math(EXPR last "${ARG_SHARDS} - 1")
    foreach(shard RANGE ${last})
        add_test(NAME ${name}_${shard} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
        set_tests_properties(${name}_${shard} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 1800 COST 1000
            ENVIRONMENT "GTEST_TOTAL_SHARDS=${ARG_SHARDS};GTEST_SHARD_INDEX=${shard}")
        give_processors(${name}_${shard} ${ARG_LABELS})
    endforeach()
endfunction()
