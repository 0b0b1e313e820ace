// SPDX-License-Identifier: Apache-2.0
#include "test/bench/fleet.h"

#include <array>

#include <fmt/format.h>

#include "device/allocation_codec.h"
#include "device/inventory_codec.h"
#include "test/bench/text_template.h"

namespace partage::bench {
namespace {

// What a trainer is likely to carry besides its devices: environment, mounts, tolerations. Fills a pod up to a realistic size.
const std::string& ContainerBallast() {
  static const std::string text = OnOneLine(R"(
  "imagePullPolicy":"IfNotPresent","terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File",
  "securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},"runAsNonRoot":true},
  "env":[{"name":"NCCL_DEBUG","value":"WARN"},{"name":"OMP_NUM_THREADS","value":"8"},
    {"name":"POD_NAME","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}}],
  "volumeMounts":[{"name":"dataset","mountPath":"/data","readOnly":true},{"name":"scratch","mountPath":"/scratch"},
    {"name":"kube-api-access-x7k2p","mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","readOnly":true}])");
  return text;
}

const std::string& SpecBallast() {
  static const std::string text = OnOneLine(R"(
  "restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"trainer","serviceAccount":"trainer",
  "securityContext":{},"schedulerName":"default-scheduler","enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority","priority":0,
  "tolerations":[{"key":"nvidia.com/gpu","operator":"Exists","effect":"NoSchedule"},
    {"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},
    {"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],
  "volumes":[{"name":"dataset","persistentVolumeClaim":{"claimName":"imagenet"}},{"name":"scratch","emptyDir":{}},
    {"name":"kube-api-access-x7k2p","projected":{"defaultMode":420,"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},
      {"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}}]}}])");
  return text;
}

const Template& NodeForm() {
  static const Template form(R"(
    {"metadata":{"uid":"%uid%","name":"%name%","creationTimestamp":"2026-03-01T08:00:00Z",
      "labels":{"beta.kubernetes.io/arch":"amd64","beta.kubernetes.io/os":"linux","kubernetes.io/arch":"amd64","kubernetes.io/hostname":"%name%",
        "kubernetes.io/os":"linux","node.kubernetes.io/instance-type":"gpu.8x80","topology.kubernetes.io/region":"north-1",
        "topology.kubernetes.io/zone":"north-1b","nvidia.com/gpu.present":"true","nvidia.com/gpu.product":"NVIDIA-A100-SXM4-80GB"},
      "annotations":{"csi.volume.kubernetes.io/nodeid":"{\"disk.csi.example\":\"%name%\"}","node.alpha.kubernetes.io/ttl":"0",
        "volumes.kubernetes.io/controller-managed-attach-detach":"true","partage.dev/inventory":"%inventory%"}},
     "spec":{"podCIDR":"10.12.3.0/24","podCIDRs":["10.12.3.0/24"],"providerID":"example://%name%"},
     "status":{
      "capacity":{"cpu":"128","ephemeral-storage":"3750Gi","hugepages-1Gi":"0","hugepages-2Mi":"0","memory":"2113411072Ki","pods":"250"},
      "allocatable":{"cpu":"127500m","ephemeral-storage":"3456Gi","hugepages-1Gi":"0","hugepages-2Mi":"0","memory":"2101876736Ki","pods":"250"},
      "conditions":[
        {"type":"MemoryPressure","status":"False","lastHeartbeatTime":"2026-03-02T08:%beat%Z","lastTransitionTime":"2026-03-01T08:00:00Z",
          "reason":"KubeletHasSufficientMemory","message":"kubelet has sufficient memory available"},
        {"type":"DiskPressure","status":"False","lastHeartbeatTime":"2026-03-02T08:%beat%Z","lastTransitionTime":"2026-03-01T08:00:00Z",
          "reason":"KubeletHasNoDiskPressure","message":"kubelet has no disk pressure"},
        {"type":"Ready","status":"True","lastHeartbeatTime":"2026-03-02T08:%beat%Z","lastTransitionTime":"2026-03-01T08:00:00Z",
          "reason":"KubeletReady","message":"kubelet is posting ready status"}],
      "addresses":[{"type":"InternalIP","address":"10.2.3.4"},{"type":"Hostname","address":"%name%"}],
      "daemonEndpoints":{"kubeletEndpoint":{"Port":10250}},
      "nodeInfo":{"machineID":"b1d2","systemUUID":"b1d2","bootID":"c3","kernelVersion":"6.1.0-30-amd64","osImage":"Debian GNU/Linux 12",
        "containerRuntimeVersion":"containerd://2.2.0","kubeletVersion":"v1.36.3","kubeProxyVersion":"","operatingSystem":"linux","architecture":"amd64"},
      "images":[{"names":["registry.example/train@sha256:0d1e","registry.example/train:26.03"],"sizeBytes":9876543210},
        {"names":["registry.example/serve@sha256:1f2e","registry.example/serve:26.02"],"sizeBytes":7654321098}]
}
})");
  return form;
}

const Template& BoundPodForm() {
  static const Template form(R"(
    {"metadata":{"uid":"%uid%","name":"%name%","generateName":"trainer-7c9f6d5b8-","namespace":"%ns%","creationTimestamp":"2026-03-01T09:00:00Z",
      "labels":{"app":"trainer","pod-template-hash":"7c9f6d5b8"},
      "annotations":{"partage.dev/allocation":"%allocation%"},
      "ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"trainer-7c9f6d5b8","uid":"5f0f3a52-2f5e-4c55-9a63-6f0f3c1a7b11",
        "controller":true,"blockOwnerDeletion":true}]},
     "spec":{"nodeName":"%node%","containers":[{"name":"main","image":"registry.example/train:26.03","resources":{
        "limits":{"cpu":"8","memory":"32Gi","nvidia.com/gpu":"1","nvidia.com/gpumem":"%mib%","nvidia.com/gpucores":"%cores%"},
        "requests":{"cpu":"8","memory":"32Gi","nvidia.com/gpu":"1","nvidia.com/gpumem":"%mib%","nvidia.com/gpucores":"%cores%"}},
        %container%}],%spec%},
     "status":{"phase":"Running","podIP":"10.12.3.17","hostIP":"10.2.3.4","qosClass":"Guaranteed","observedGeneration":%beat%,
      "conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-03-01T09:00:05Z"},
        {"type":"PodScheduled","status":"True","lastTransitionTime":"2026-03-01T09:00:01Z"}],
      "containerStatuses":[{"name":"main","ready":true,"restartCount":0,"state":{"running":{"startedAt":"2026-03-01T09:00:04Z"}},
        "image":"registry.example/train:26.03","imageID":"registry.example/train@sha256","containerID":"containerd://9d1e5c0f"}]}})");
  return form;
}

const Template& PendingPodForm() {
  static const Template form(R"(
    {"metadata":{"uid":"%uid%","name":"%name%","generateName":"trainer-7c9f6d5b8-","namespace":"%ns%","creationTimestamp":"2026-03-02T09:00:00Z",
      "labels":{"app":"trainer","pod-template-hash":"7c9f6d5b8","team":"research-07"},
      "annotations":{%annotations%"cluster.example/cost-centre":"4711"},
      "ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"trainer-7c9f6d5b8","uid":"5f0f3a52-2f5e-4c55-9a63-6f0f3c1a7b11",
        "controller":true,"blockOwnerDeletion":true}]},
     "spec":{"containers":[%containers%],%spec%},
     "status":{"phase":"Pending","qosClass":"Guaranteed"}})");
  return form;
}

const Template& ContainerForm() {
  static const Template form(R"(
    {"name":"%name%","image":"registry.example/train:26.03","command":["torchrun","--nproc-per-node=1","train.py"],"resources":{
      "limits":{"cpu":"4","memory":"16Gi",%devices%},"requests":{"cpu":"4","memory":"16Gi",%devices%}},%container%})");
  return form;
}

struct Form {
  std::string_view annotations;
  std::vector<std::string_view> containers;  // the device resources of each
};

const Form& FormOf(int form) {
  static const std::array<Form, PendingPod::kForms> forms = {{
      {"", {R"("nvidia.com/gpu":"1","nvidia.com/gpumem":"3000","nvidia.com/gpucores":"10")"}},
      {"", {R"("nvidia.com/gpu":"1","nvidia.com/gpumem-percentage":"25","nvidia.com/gpucores":"5")"}},
      {"", {R"("nvidia.com/gpu":"2","nvidia.com/gpumem":"10000")"}},
      {R"("nvidia.com/use-gputype":"A100",)", {R"("nvidia.com/gpu":"1","nvidia.com/gpumem":"20000")"}},
      {R"("hami.io/node-scheduler-policy":"spread",)", {R"("nvidia.com/gpu":"1","nvidia.com/gpumem":"6000","nvidia.com/gpucores":"20")"}},
      {"", {R"("nvidia.com/gpumem":"1500")"}},
      {R"("hami.io/gpu-scheduler-policy":"topology-aware",)", {R"("nvidia.com/gpu":"4","nvidia.com/gpumem":"8000")"}},
      {"",
       {R"("nvidia.com/gpu":"1","nvidia.com/gpumem":"2000")",
        R"("nvidia.com/gpu":"1","nvidia.com/gpumem":"4000","nvidia.com/gpucores":"5")"}},
  }};
  static const Form small = {"", {R"("nvidia.com/gpu":"1","nvidia.com/gpumem":"50")"}};
  return form == PendingPod::kSmallForm ? small : forms[static_cast<std::size_t>(form)];
}

// The finalizer of SplitMix64: one number, well mixed.
std::uint64_t Mix(std::uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

std::uint64_t Mix(std::uint64_t a, std::uint64_t b) { return Mix(a * 0x9E3779B97F4A7C15u + Mix(b + 1)); }

std::string InString(std::string_view json) {
  std::string out;
  for (const char c : json) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

// Ids of bound pods and of cards, apart from those of nodes and pending pods.
std::uint64_t PlaceOf(int node, int within) { return static_cast<std::uint64_t>(node) * 65536 + static_cast<std::uint64_t>(within); }

std::string CardUuid(int node, int card) { return "GPU-" + MakeUuid(2, PlaceOf(node, card)); }

}  // namespace

std::string MakeUuid(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t high = Mix(a, b), low = Mix(high, b);
  return fmt::format("{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}", high >> 32, (high >> 16) & 0xffff, high & 0xfff, low >> 52,
                     low & 0xffffffffffffu);
}

std::string Fleet::NodeName(int node) const { return fmt::format("gpu-node-{:05}.cluster.example", node); }

device::NodeInventory Fleet::InventoryOf(int node) const {
  device::NodeInventory inventory;
  for (int card = 0; card < kGpusPerNode; ++card) {
    inventory.devices.push_back({.vendor = "nvidia",
                                 .uuid = CardUuid(node, card),
                                 .model = "NVIDIA A100-SXM4-80GB",
                                 .index = card,
                                 .numa = card / 4,
                                 .slots = slots,
                                 .mib = kGpuMib,
                                 .cores = 100,
                                 .links = {}});
  }
  return inventory;
}

device::Allocation Fleet::AllocationOf(int node, int pod) const {
  const int card = pod % kGpusPerNode;
  const int sharers = (pods_per_node - card + kGpusPerNode - 1) / kGpusPerNode;
  const bool full = Mix(6, static_cast<std::uint64_t>(node)) % 10 < 3;
  const auto percent = static_cast<int>(full ? 100 : 5 + Mix(3, PlaceOf(node, card)) % 86);
  const device::Share share{CardUuid(node, card), kGpuMib * percent / 100 / sharers, percent * 8 / 10 / sharers};
  return {.node = NodeName(node), .containers = {{.name = "main", .vendor = "nvidia", .shares = {share}}}};
}

std::string Fleet::NodeText(int node, int beat) const {
  return NodeForm().Fill({{"uid", MakeUuid(4, PlaceOf(node, 0))},
                          {"name", NodeName(node)},
                          {"inventory", InString(device::EncodeInventory(InventoryOf(node)))},
                          {"beat", fmt::format("{:02}:{:02}", beat / 60 % 60, beat % 60)}});
}

std::string Fleet::BoundPodKey(int node, int pod) const {
  return fmt::format("team-{:02}/trainer-7c9f6d5b8-{:05}-{:02}", node % 20, node, pod);
}

std::string Fleet::BoundPodText(int node, int pod, int beat) const {
  const std::string key = BoundPodKey(node, pod);
  const auto slash = key.find('/');
  const auto allocation = AllocationOf(node, pod);
  const auto& share = allocation.containers.front().shares.front();
  return BoundPodForm().Fill({{"uid", MakeUuid(1, PlaceOf(node, pod))},
                              {"name", std::string_view(key).substr(slash + 1)},
                              {"ns", std::string_view(key).substr(0, slash)},
                              {"allocation", InString(device::EncodeAllocation(allocation))},
                              {"node", allocation.node},
                              {"mib", std::to_string(share.mib)},
                              {"cores", std::to_string(share.cores)},
                              {"container", ContainerBallast()},
                              {"spec", SpecBallast()},
                              {"beat", std::to_string(beat + 1)}});
}

std::string PendingPod::Name() const { return fmt::format("trainer-7c9f6d5b8-{:07}", serial); }

std::string PendingPod::Uid() const { return MakeUuid(5, static_cast<std::uint64_t>(serial)); }

std::string PendingPod::Text() const {
  const Form& wanted = FormOf(form);
  std::string containers;
  for (std::size_t c = 0; c < wanted.containers.size(); ++c) {
    if (c > 0) containers += ',';
    containers += ContainerForm().Fill(
        {{"name", c == 0 ? "main" : "evaluate"}, {"devices", wanted.containers[c]}, {"container", ContainerBallast()}});
  }
  return PendingPodForm().Fill({{"uid", Uid()},
                                {"name", Name()},
                                {"ns", kNamespace},
                                {"annotations", wanted.annotations},
                                {"containers", containers},
                                {"spec", SpecBallast()}});
}

}  // namespace partage::bench
