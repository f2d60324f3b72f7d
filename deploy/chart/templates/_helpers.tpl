{{- define "oriel.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "oriel.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "oriel.labels" -}}
{{ include "oriel.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "oriel.secret" -}}
{{ .Values.secret.existing | default (include "oriel.name" .) }}
{{- end }}

{{/* The configuration file: what the chart decides, and what the values add. */}}
{{- define "oriel.settings" -}}
{{- $name := include "oriel.name" . }}
{{- $own := printf "%s.%s" $name .Release.Namespace }}
{{- $server := dict "hostnames" (concat (list $own (printf "%s.svc" $own) (printf "%s.svc.cluster.local" $own)) .Values.hostnames) }}
{{- $_ := set $server "insecure" .Values.insecure }}
{{- $_ := set $server "shutdownDelayMs" (mul .Values.shutdown.delaySeconds 1000) }}
{{- $_ := set $server "graceMs" (mul .Values.shutdown.graceSeconds 1000) }}
{{- merge (deepCopy .Values.settings) (dict "model" .Values.models "models" (dict "dirs" (list "/data/.cache/models")) "server" $server) | toPrettyJson }}
{{- end }}

{{/* A volume, from the name of its values. */}}
{{- define "oriel.volume" -}}
- name: {{ .name }}
{{- if or .values.existingClaim .values.create }}
  persistentVolumeClaim:
    claimName: {{ .values.existingClaim | default (printf "%s-%s" .release .name) }}
{{- else }}
  emptyDir:
    sizeLimit: {{ .values.size }}
{{- end }}
{{- end }}

{{/* What both containers of a pod have. */}}
{{- define "oriel.container" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
envFrom:
  - secretRef:
      name: {{ include "oriel.secret" . }}
env:
  - name: ORIEL_CONFIG
    value: /etc/oriel/oriel.json
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: settings
    mountPath: /etc/oriel
    readOnly: true
  - name: data
    mountPath: /data
  - name: cache
    mountPath: /data/.cache
  - name: tmp
    mountPath: /tmp
{{- end }}
