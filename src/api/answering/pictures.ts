export { Attachments as Pictures } from './attachments.ts'
