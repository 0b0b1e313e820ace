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

{{- /* The data of the Secret with which kube-scheduler comes to the extender, of (dict "root" $ "authority" {crt, key}): what is there, unless another authority signed it. */ -}}
{{- define "partage.clientCertificate" -}}
{{- $secret := lookup "v1" "Secret" .root.Release.Namespace (printf "%s-extender-client-tls" (include "partage.fullname" .root)) | default dict -}}
{{- $data := $secret.data | default dict -}}
{{- if ne (get $data "ca.crt") .authority.crt -}}
{{- $made := genSignedCert "kube-scheduler" nil nil 3650 (buildCustomCert .authority.crt .authority.key) -}}
{{- $data = dict "ca.crt" .authority.crt "tls.crt" (b64enc $made.Cert) "tls.key" (b64enc $made.Key) -}}
{{- end -}}
{{- toYaml $data -}}
{{- end -}}

{{- /* The names by which (dict "root" $ "kind" "webhook" or "extender") is called, as a JSON list. */ -}}
{{- define "partage.serviceNames" -}}
{{- $service := printf "%s-%s.%s.svc" (include "partage.fullname" .root) .kind .root.Release.Namespace -}}
{{- list $service (printf "%s.cluster.local" $service) | toJson -}}
{{- end -}}
