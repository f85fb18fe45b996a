/** What programs import as `sealmesh`: a mesh inside them. No port, no signal handler, nothing on stdout. */
export { connect } from "./connect.ts";
export type { ConnectOptions, Explanation, ExplainedHost, Mesh, MeshModel, SignalOptions } from "./connect.ts";
export type { Answered, Attempt, FactorVerdict, KnownAtOnce, PendingReport, Report, Tokens } from "./report.ts";
export type { JoinOptions, Log, LogEntry, MemberOptions, Tier } from "./options.ts";
export { isMeshError } from "../base/errors.ts";
export type { ErrorCode, ErrorRow, MeshError, OpenAiErrorType } from "../base/errors.ts";
