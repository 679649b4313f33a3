// One JSON line per finished request, for tests and for people who ask what happened. Any thread.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace baleen::serve {

class RequestLog {
  public:
    // Appends to the file. kIo names it.
    static Result<std::unique_ptr<RequestLog>> open(const std::string& path);
    ~RequestLog();
    RequestLog(const RequestLog&) = delete;
    RequestLog& operator=(const RequestLog&) = delete;

    // A line that cannot be written (a full disk) is counted and said once; serving goes on.
    void write(const Json& line);

  private:
    RequestLog(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
    std::string path_;
    int fd_;
    std::mutex mutex_;
    bool has_failed_ = false;  // guarded by mutex_
};

}  // namespace baleen::serve
