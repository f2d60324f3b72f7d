import { workerData } from 'node:worker_threads'
import { type Conversion, convert } from './convert.ts'

for (const conversion of workerData as readonly Conversion[]) convert(conversion)
