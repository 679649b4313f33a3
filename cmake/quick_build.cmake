# Sanitizer builds are compiled from nothing on every CI run, so there compile time counts
# (BALEEN_QUICK_BUILD, set by the presets asan and tsan):
# - the heavy headers are precompiled, once per optimisation level. Other presets have no precompiled
#   headers, so a file that includes too little fails there;
# - what computes little (serve, agent, cli, most tests) is compiled with -O0. What computes is compiled as the
#   preset says, -O2: clang inlines nothing at -O1, and the tests would take longer than -O2 costs.
option(BALEEN_QUICK_BUILD "Precompiled headers, and -O0 where little is computed" OFF)

# quick_headers(TARGET options...): the target that holds one precompiled set. CLI11 would not pay: its
# header-only code would be compiled into every object.
function(quick_headers target)
    file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/${target}.cc CONTENT "")
    add_library(${target} OBJECT ${CMAKE_BINARY_DIR}/${target}.cc)
    target_link_libraries(${target} PRIVATE baleen_options fmt::fmt Threads::Threads GTest::gtest)
    target_compile_options(${target} PRIVATE ${ARGN})
    target_precompile_headers(${target} PRIVATE <chrono> <functional> <map> <thread>
        <gtest/gtest.h> "\"base/json.h\"")
endfunction()

if(BALEEN_QUICK_BUILD)
    quick_headers(baleen_headers)
    quick_headers(baleen_light_headers -O0)
endif()

# For targets that compute.
function(quick_build target)
    if(BALEEN_QUICK_BUILD)
        target_precompile_headers(${target} REUSE_FROM baleen_headers)
    endif()
endfunction()

# For targets that compute little.
function(quick_build_light target)
    if(BALEEN_QUICK_BUILD)
        target_compile_options(${target} PRIVATE -O0)
        target_precompile_headers(${target} REUSE_FROM baleen_light_headers)
    endif()
endfunction()
