/** What a request may attach to its text. A model says which of these it accepts. */
export type AttachmentKind = 'image' | 'audio' | 'video'
