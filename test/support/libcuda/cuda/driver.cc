// SPDX-License-Identifier: Apache-2.0
// Start of the driver: which devices CUDA shows, and what the calling thread works with.
#include "test/support/libcuda/cuda/driver.h"

#include <pthread.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "test/support/libcuda/cuda/current.h"

namespace partage::fake_gpu {
namespace {

/// Profile indices in the order in which CUDA counts devices, before CUDA_VISIBLE_DEVICES. Of MIG devices, the instances stand for the device.
std::vector<int> CudaOrder(const Profile& profile) {
  std::vector<int> order = profile.cuda_order;
  const char* wanted = std::getenv("CUDA_DEVICE_ORDER");
  if (order.empty() || (wanted != nullptr && std::strcmp(wanted, "PCI_BUS_ID") == 0)) {
    order.clear();
    for (size_t i = 0; i < profile.devices.size(); ++i) order.push_back(static_cast<int>(i));
  }
  std::erase_if(order, [&](int index) {
    return std::any_of(profile.devices.begin(), profile.devices.end(), [&](const DeviceSpec& device) { return device.parent == index; });
  });
  return order;
}

/// The device that one entry of CUDA_VISIBLE_DEVICES names: an index, or the beginning of one UUID only. -1 when none.
int Named(const std::string& entry, const std::vector<int>& order, const Profile& profile) {
  int number = -1;
  const auto [end, error] = std::from_chars(entry.data(), entry.data() + entry.size(), number);
  if (error == std::errc() && end == entry.data() + entry.size()) {
    return number >= 0 && number < static_cast<int>(order.size()) ? order[static_cast<size_t>(number)] : -1;
  }
  int found = -1;
  for (const int index : order) {
    if (entry.size() < 5 || !profile.devices[static_cast<size_t>(index)].uuid.starts_with(entry)) continue;
    if (found >= 0) return -1;
    found = index;
  }
  return found;
}

/// As CUDA reads the variable: everything after the first entry that names no device does not count, and a device named twice leaves none.
std::vector<int> Visible(const Profile& profile) {
  const std::vector<int> order = CudaOrder(profile);
  const char* wanted = std::getenv("CUDA_VISIBLE_DEVICES");
  std::vector<int> visible;
  if (wanted == nullptr) {
    visible = order;
  } else {
    std::istringstream entries(wanted);
    for (std::string entry; std::getline(entries, entry, ',');) {
      const int index = Named(entry, order, profile);
      if (index < 0) break;
      if (std::count(visible.begin(), visible.end(), index) > 0) return {};
      visible.push_back(index);
    }
  }
  // A process works with one MIG instance, and then with no other device.
  const auto mig = std::find_if(visible.begin(), visible.end(), [&](int i) { return profile.devices[static_cast<size_t>(i)].parent >= 0; });
  return mig == visible.end() ? visible : std::vector<int>{*mig};
}

void Start(Driver& driver) {
  driver.visible = Visible(Profile::Get());
  const size_t count = driver.visible.size();
  driver.primaries.resize(count);
  driver.graph_memory.resize(count);
  for (size_t i = 0; i < count; ++i) {
    driver.default_pools.push_back(driver.pools.Add({.device = static_cast<CUdevice>(i), .gpu = driver.visible[i]}));
  }
  driver.current_pools = driver.default_pools;
  driver.initialised = true;
  static const int registered = pthread_atfork(nullptr, nullptr, [] {
    Driver::Get().lost = true;
    new (&Driver::Get().mutex) std::mutex;  // another thread of the parent may have held it
  });
  (void)registered;
}

}  // namespace

Driver& Driver::Get() {
  static Driver& driver = *new Driver;
  return driver;
}

CUresult Initialised() {
  const Driver& driver = Driver::Get();
  return driver.initialised && !driver.lost ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED;
}

bool ValidDevice(CUdevice device) { return device >= 0 && device < static_cast<int>(Driver::Get().visible.size()); }

int GpuOf(CUdevice device) { return Driver::Get().visible[static_cast<size_t>(device)]; }

FAKE_CUDA(cuInit)(unsigned flags) {
  Driver& driver = Driver::Get();
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (driver.lost) return CUDA_ERROR_NOT_INITIALIZED;
  const std::lock_guard lock(driver.mutex);
  if (!driver.initialised) {
    if (Visible(Profile::Get()).empty()) return CUDA_ERROR_NO_DEVICE;
    Start(driver);
  }
  return CUDA_SUCCESS;
}

FAKE_CUDA(cuDriverGetVersion)(int* version) {
  if (version == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *version = CudaVersion();
  return CUDA_SUCCESS;
}

}  // namespace partage::fake_gpu
