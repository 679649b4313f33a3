// baleen sandbox images: the image store. Its commands are in sandbox_images.cc (list, rm, gc,
// verify) and sandbox_images_import.cc (import, pack, export).
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <thread>

#include "cli/command.h"
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

// Asks to stop once SIGINT has come.
class InterruptStop {
  public:
    InterruptStop();
    std::stop_token token() const { return stop_.get_token(); }

  private:
    std::stop_source stop_;
    std::jthread watcher_;
};

}  // namespace baleen::cli
