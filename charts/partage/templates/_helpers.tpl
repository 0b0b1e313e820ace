{{- define "partage.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "partage.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: scheduler
{{- end -}}

{{- define "partage.labels" -}}
{{ include "partage.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "partage.serviceAccount" -}}
{{- default (include "partage.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- /* The name by which the API server knows the scheduler. */ -}}
{{- define "partage.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "partage.serviceAccount" . }}
{{- end -}}

{{- /* Leases, in the release's namespace. */ -}}
{{- define "partage.lease" -}}{{ include "partage.fullname" . }}-scheduler{{- end -}}
{{- define "partage.kubeSchedulerLease" -}}{{ include "partage.fullname" . }}-kube-scheduler{{- end -}}

{{- /* REPOSITORY:TAG or REPOSITORY@DIGEST of (dict "image" {repository, tag, digest} "tag" DEFAULT). */ -}}
{{- define "partage.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .tag .image.tag }}
{{- end -}}
{{- end -}}

{{- /* The cluster's version as upstream tags its images: v1.33.4 for v1.33.4-eks-0123456 and v1.33.4+k3s1. */ -}}
{{- define "partage.kubernetesTag" -}}
{{- regexFind "^v[0-9]+\\.[0-9]+\\.[0-9]+" .Capabilities.KubeVersion.Version -}}
{{- end -}}

{{- define "partage.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- /* Every vendor definition of vendors/, as a JSON list. */ -}}
{{- define "partage.vendors" -}}
{{- $vendors := list -}}
{{- range $path, $text := .Files.Glob "vendors/*.yaml" -}}
{{- $vendors = append $vendors (fromYaml (toString $text)) -}}
{{- end -}}
{{- $names := list -}}
{{- range $vendors }}{{ $names = append $names .name }}{{ end -}}
{{- range $name, $settings := .Values.vendors -}}
{{- if not (has $name $names) }}{{ fail (printf "vendors.%s: no such vendor; there are %s" $name (join ", " $names)) }}{{ end -}}
{{- end -}}
{{- toJson $vendors -}}
{{- end -}}

{{- /* The resource names in force, values before definitions, as a JSON list. A name set to "" does not exist. */ -}}
{{- define "partage.resources" -}}
{{- $settings := dict "count" "resourceCountName" "memory" "resourceMemoryName" "percent" "resourceMemoryPercentageName" "cores" "resourceCoreName" "priority" "resourcePriorityName" -}}
{{- $names := list -}}
{{- range include "partage.vendors" . | fromJsonArray -}}
{{- $vendor := . -}}
{{- $changed := get $.Values.vendors $vendor.name | default dict -}}
{{- range $kind := list "count" "memory" "percent" "cores" "priority" -}}
{{- $setting := get $settings $kind -}}
{{- $names = append $names (ternary (get $changed $setting) (get $vendor.resources $kind) (hasKey $changed $setting)) -}}
{{- end -}}
{{- end -}}
{{- toJson (without (compact $names) "") -}}
{{- end -}}

{{- /* CEL over a pod: some container, init containers among them, names a resource of ours. */ -}}
{{- define "partage.asksForDevices" -}}
{{- $names := include "partage.resources" . | replace "\"" "'" -}}
(object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers : [])).exists(c,
  has(c.resources) && (
    (has(c.resources.limits) && c.resources.limits.exists(name, name in {{ $names }})) ||
    (has(c.resources.requests) && c.resources.requests.exists(name, name in {{ $names }}))))
{{- end -}}

{{- /* One extender of kube-scheduler's configuration: (dict "root" $ "url" URL "timeout" TIME). */ -}}
{{- define "partage.extender" -}}
urlPrefix: {{ .url }}
filterVerb: filter
prioritizeVerb: prioritize
bindVerb: bind
preemptVerb: preempt
weight: 1
nodeCacheCapable: true
httpTimeout: {{ .timeout }}
managedResources:
{{- range include "partage.resources" .root | fromJsonArray }}
  - {name: {{ . }}, ignoredByScheduler: true}
{{- end }}
{{- end -}}
