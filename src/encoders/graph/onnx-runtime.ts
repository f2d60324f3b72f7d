/**
 * ONNX Runtime; null if it is not installed. Its builds for Linux report to Microsoft how they are used, unless the variable
 * is set before it is loaded. A thread cannot set it: the variables of its process must have it.
 */
export function openOnnxRuntime() {
  Object.assign(process.env, onnxVariables)
  return import('onnxruntime-node').catch(() => null)
}

export const onnxVariables = { ORT_DISABLE_TELEMETRY: '1' } as const
