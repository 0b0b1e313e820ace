// SPDX-License-Identifier: Apache-2.0
// Memory that comes from elsewhere. What another CUDA process exported (cuIpcOpenMemHandle, shareable handles and pools) is charged to the exporter,
// once, so opening it needs no hook. What another API allocated (Vulkan, OpenGL, DMA-BUF) has been charged to nobody: the import is.
#include "intercept/hook.h"
#include "intercept/memory/ledger.h"

namespace partage::intercept {

using namespace memory;

PARTAGE_HOOK(CUresult, cuImportExternalMemory, (CUexternalMemory * ext_mem_out, const CUDA_EXTERNAL_MEMORY_HANDLE_DESC* mem_handle_desc)) {
  const Entered entered;
  const auto forward = [&] { return Real(ext_mem_out, mem_handle_desc); };
  if (!entered || ext_mem_out == nullptr || mem_handle_desc == nullptr) return forward();
  return Allocated(Here(), Kind::kExternal, mem_handle_desc->size, forward, [&] { return KeyOf(*ext_mem_out); });
}

PARTAGE_HOOK(CUresult, cuDestroyExternalMemory, (CUexternalMemory ext_mem)) {
  const Entered entered;
  if (!entered) return Real(ext_mem);
  return Freed(KeyOf(ext_mem), Kinds(Kind::kExternal), [&] { return Real(ext_mem); });
}

}  // namespace partage::intercept
