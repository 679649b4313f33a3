# Sanitizer builds are compiled on every CI run from nothing, so there compile time counts more than
# speed (BALEEN_QUICK_BUILD, set by the presets asan and tsan):
# - the heavy headers are precompiled, once per optimisation level. Other presets have no precompiled
#   headers, so a file that includes too little fails there;
# - code that computes little (tests, serve, agent, cli: `baleen_light`) is compiled with -O0.
option(BALEEN_QUICK_BUILD "Precompiled headers, and -O0 where little is computed" OFF)

# quick_headers(TARGET lib|light header...): the target that holds one precompiled set.
function(quick_headers target)
    file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/${target}.cc CONTENT "")
    add_library(${target} OBJECT ${CMAKE_BINARY_DIR}/${target}.cc)
    target_link_libraries(${target} PRIVATE baleen_options fmt::fmt Threads::Threads)
    target_precompile_headers(${target} PRIVATE ${ARGN})
endfunction()

if(BALEEN_QUICK_BUILD)
    set(library_headers <chrono> <functional> <map> <thread> "\"base/json.h\"")
    quick_headers(baleen_headers ${library_headers})
    quick_headers(baleen_light_headers ${library_headers} <gtest/gtest.h>)
    target_link_libraries(baleen_light_headers PRIVATE GTest::gtest)
    target_compile_options(baleen_light_headers PRIVATE -O0)
endif()

# What every library calls on its target.
function(quick_build target)
    if(BALEEN_QUICK_BUILD)
        target_precompile_headers(${target} REUSE_FROM baleen_headers)
    endif()
endfunction()

# The same for targets that compute little.
function(quick_build_light target)
    if(BALEEN_QUICK_BUILD)
        target_compile_options(${target} PRIVATE -O0)
        target_precompile_headers(${target} REUSE_FROM baleen_light_headers)
    endif()
endfunction()
