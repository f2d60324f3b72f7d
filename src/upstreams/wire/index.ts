import type { UpstreamApi } from '../settings.ts'
import type { Wire } from './wire.ts'

export declare const wires: Readonly<Record<UpstreamApi, Wire>>
