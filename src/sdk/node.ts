/** What programs import as `sealmesh/node`: a host inside them, whose engine may be a function. */
export { serve } from "./serve.ts";
export type { Host, HostStatus, ModelOffer, ServeOptions, UrlEngine } from "./serve.ts";
export type { JoinOptions, Log, LogEntry, MemberOptions, Tier } from "./options.ts";
export { isMeshError } from "../base/errors.ts";
export type { ErrorCode, ErrorRow, MeshError, OpenAiErrorType } from "../base/errors.ts";
