// baleen sandbox images: the image store. Its commands are in sandbox_images.cc (list, rm, gc,
// verify) and sandbox_images_import.cc (import, pack, export).
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <thread>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "sandbox/image/store.h"

namespace baleen::cli {

void add_sandbox_images(CLI::App& sandbox, Chosen& chosen);

// What all of them take.
struct ImageStoreFlags {
    std::string store = "/var/lib/baleen/store";
    bool json = false;

    void add_to(CLI::App& command);
    Result<std::unique_ptr<sandbox::image::ImageStore>> open(
        sandbox::image::ImageStore::Open how = sandbox::image::ImageStore::Open::kExisting) const;
};

void add_images_import(CLI::App& images, Chosen& chosen);
void add_images_pack(CLI::App& images, Chosen& chosen);
void add_images_export(CLI::App& images, Chosen& chosen);

// Whether a bar for so many bytes is worth its line: on a terminal, or where it takes a while.
bool is_worth_a_bar(uint64_t bytes);

// Asks to stop once SIGINT has come.
class InterruptStop {
  public:
    InterruptStop();
    std::stop_token token() const { return stop_.get_token(); }

    // After SIGINT any failure is that of being interrupted: a source at the other end of a pipe
    // dies of the same signal and leaves half an archive.
    template <typename T>
    Result<T> unless_interrupted(Result<T> result) const {
        if (result || !interrupted()) return result;
        return make_error(ErrorCode::kCancelled, "interrupted");
    }

  private:
    std::stop_source stop_;
    std::jthread watcher_;
};

}  // namespace baleen::cli
