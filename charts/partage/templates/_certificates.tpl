{{- /* The release's authority as YAML {crt, key}, both base64: the one in Secret NAME-ca, or a new one. */ -}}
{{- define "partage.authority" -}}
{{- $secret := lookup "v1" "Secret" .Release.Namespace (printf "%s-ca" (include "partage.fullname" .)) | default dict -}}
{{- $data := $secret.data | default dict -}}
{{- if and (get $data "tls.crt") (get $data "tls.key") -}}
{{- dict "crt" (get $data "tls.crt") "key" (get $data "tls.key") | toYaml -}}
{{- else -}}
{{- $authority := genCA (printf "%s authority" (include "partage.fullname" .)) 3650 -}}
{{- dict "crt" (b64enc $authority.Cert) "key" (b64enc $authority.Key) | toYaml -}}
{{- end -}}
{{- end -}}

{{- /* A Secret with a certificate for (dict "root" $ "authority" {crt, key} "secret" NAME "names" [DNS names, the first is the subject]): the one there, unless another
authority signed it, it is for other names, or its time to be renewed has come. */ -}}
{{- define "partage.certificate" -}}
{{- $root := .root -}}
{{- $seconds := mul 86400 (sub $root.Values.certificates.validDays $root.Values.certificates.renewBeforeDays) -}}
{{- $now := now | unixEpoch | int64 -}}
{{- $secret := lookup "v1" "Secret" $root.Release.Namespace .secret | default dict -}}
{{- $data := $secret.data | default dict -}}
{{- $notes := dig "metadata" "annotations" dict $secret -}}
{{- $issued := get $notes "partage.dev/issued" | default "0" | int64 -}}
{{- $names := join "," .names -}}
{{- if or (ne (get $data "ca.crt") .authority.crt) (ne (get $notes "partage.dev/names" | default "") $names) (gt $now (add $issued $seconds)) -}}
{{- $made := genSignedCert (first .names) nil .names (int $root.Values.certificates.validDays) (buildCustomCert .authority.crt .authority.key) -}}
{{- $data = dict "ca.crt" .authority.crt "tls.crt" (b64enc $made.Cert) "tls.key" (b64enc $made.Key) -}}
{{- $issued = $now -}}
{{- end -}}
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata:
  name: {{ .secret }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- include "partage.labels" $root | nindent 4 }}
  annotations:
    partage.dev/issued: {{ $issued | quote }}
    partage.dev/names: {{ $names | quote }}
data: {{- toYaml $data | nindent 2 }}
{{- end -}}

{{- /* The certificates this release uses, as YAML {list: [{secret, names}]}. */ -}}
{{- define "partage.certificates" -}}
{{- $name := include "partage.fullname" . -}}
{{- $list := list -}}
{{- $kinds := list -}}
{{- if .Values.webhook.enabled }}{{ $kinds = append $kinds "webhook" }}{{ end -}}
{{- if ne .Values.shape "beside" }}{{ $kinds = append $kinds "extender" }}{{ end -}}
{{- range $kind := $kinds -}}
{{- $service := printf "%s-%s.%s.svc" $name $kind $.Release.Namespace -}}
{{- $list = append $list (dict "secret" (printf "%s-%s-tls" $name $kind) "names" (list $service (printf "%s.cluster.local" $service))) -}}
{{- end -}}
{{- if ne .Values.shape "beside" -}}
{{- $list = append $list (dict "secret" (printf "%s-extender-client-tls" $name) "names" (list "kube-scheduler")) -}}
{{- end -}}
{{- dict "list" $list | toYaml -}}
{{- end -}}
