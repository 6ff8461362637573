{{- define "oob-dispatch.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "oob-dispatch.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "oob-dispatch.labels" -}}
{{ include "oob-dispatch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Lines of the values as `caddy fmt` has them: (dict "lines" … "tabs" …). */}}
{{- define "oob-dispatch.lines" -}}
{{- $lines := trim .lines -}}
{{- range until 8 }}{{ $lines = regexReplaceAll "(?m)^(\t*)  " $lines "${1}\t" }}{{ end -}}
{{- $lines | replace "\n" (print "\n    " (repeat .tabs "\t")) -}}
{{- end }}

{{/* The port of a URL, or that of its scheme. */}}
{{- define "oob-dispatch.port" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $port | default (get (dict "https" "443" "http" "80") $url.scheme | default "6379") -}}
{{- end }}

{{/* What the schema cannot say, or could not say in words. */}}
{{- define "oob-dispatch.check" -}}
{{- if not .Values.image.repository }}
{{- fail "image.repository: set it to the registry and the name that you pushed the image to, such as registry.example.com/oob-dispatch" }}
{{- end }}
{{- if not (regexMatch "^https?://[^/?#@]+$" .Values.nevisfido.url) }}
{{- fail (printf "nevisfido.url: %q is no http(s)://host:port; set it to where nevisFIDO answers, without a path, such as http://nevisfido:9080" .Values.nevisfido.url) }}
{{- end }}
{{- if not (trim .Values.caddyfile.dispatch) }}
{{- fail "caddyfile.dispatch: set it to the lines of the block oob_dispatch, with at least one dispatcher; values.yaml has an example" }}
{{- end }}
{{- if regexMatch "(?m)^\\s*store\\s" .Values.caddyfile.dispatch }}
{{- fail "caddyfile.dispatch: leave out store; set redis.urls and redis.options instead, or nothing for a volume" }}
{{- end }}
{{- if and (or .Values.autoscaling.enabled (gt (int .Values.replicas) 1)) (not .Values.redis.urls) }}
{{- fail "redis.urls: several replicas have to share their targets and limits; set it to your Redis, or replicas to 1 and autoscaling.enabled to false" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- fail "autoscaling.minReplicas: set it to at most autoscaling.maxReplicas" }}
{{- end }}
{{- range .Values.redis.urls }}
{{- if not (regexMatch "^rediss?://[^/]+" .) }}
{{- fail (printf "redis.urls: %q is no redis:// or rediss:// URL, such as rediss://redis:6379" .) }}
{{- end }}
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
{{- fail "httpRoute.parentRefs: set it to the Gateway, such as [{name: public, namespace: gateways}]" }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}
{{- fail "ingress.host: set it to the host name of the Ingress" }}
{{- end }}
{{- end }}
