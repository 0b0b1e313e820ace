// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "k8s/client/client.h"

namespace partage::test {

/// Records calls and answers each with the same reply or error. Used by one thread.
class RecordingClient final : public k8s::Client {
 public:
  struct Call {
    std::string method, path, body, content_type;
  };

  Result<k8s::Reply> Get(const std::string& path) override { return Record({"GET", path, "", ""}); }
  Result<k8s::Reply> Post(const std::string& path, const std::string& body) override { return Record({"POST", path, body, ""}); }
  Result<k8s::Reply> PostBy(Clock::Mono send_by, const std::string& path, const std::string& body) override {
    last_send_by = send_by;
    return Post(path, body);
  }
  Result<k8s::Reply> Put(const std::string& path, const std::string& body) override { return Record({"PUT", path, body, ""}); }
  Result<k8s::Reply> Patch(const std::string& path, const std::string& body, const std::string& type) override {
    return Record({"PATCH", path, body, type});
  }
  Result<k8s::Reply> Delete(const std::string& path) override { return Record({"DELETE", path, "", ""}); }
  Result<> GetStream(const std::string&, const Stream&, std::stop_token) override { return {}; }
  void HangUp() override {}
  std::string server() const override { return "test"; }

  Result<k8s::Reply> answer = k8s::Reply{.status = 200, .body = "{}"};
  std::vector<Call> calls;
  Clock::Mono last_send_by{};

 private:
  Result<k8s::Reply> Record(Call call) {
    calls.push_back(std::move(call));
    return answer;
  }
};

}  // namespace partage::test
