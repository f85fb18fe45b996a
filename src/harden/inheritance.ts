/**
 * What a process inherits from its starter and may not keep: variables and flags of Node, judged by name. Two tables, pure
 * functions, no I/O. What a node may keep is listed; among the rest, what can load code, redirect trust or let content out is
 * dangerous, and told by name when it is taken away. The rest is dropped without a word.
 *
 * @see docs/hardening.md has the same tables for people
 */

/** What a node may keep: names, and forms of names. Windows has no case in names; elsewhere they are compared as they are. */
interface Kept {
  readonly names: readonly string[];
  readonly forms: readonly RegExp[];
}

const kept: Kept = {
  names: [
    // who and where
    "PATH HOME USER LOGNAME SHELL PWD TMPDIR TZ LANG LANGUAGE",
    // what the terminal can show
    "TERM COLORTERM NO_COLOR FORCE_COLOR TMUX TERM_PROGRAM COLUMNS LINES CI",
    // systemd
    "STATE_DIRECTORY RUNTIME_DIRECTORY CACHE_DIRECTORY LOGS_DIRECTORY CONFIGURATION_DIRECTORY CREDENTIALS_DIRECTORY",
    "NOTIFY_SOCKET INVOCATION_ID JOURNAL_STREAM WATCHDOG_USEC WATCHDOG_PID",
    // where spans go (docs/telemetry.md)
    "OTEL_EXPORTER_OTLP_ENDPOINT OTEL_EXPORTER_OTLP_HEADERS OTEL_SERVICE_NAME",
    // which devices a model may use, and how many threads Node has for files
    "CUDA_VISIBLE_DEVICES HIP_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES GGML_NO_BACKTRACE UV_THREADPOOL_SIZE",
    // a key for models that are not for everybody, and where they are asked for: the node's own, engines do not get it
    "HF_TOKEN HF_ENDPOINT",
  ].flatMap((line) => line.split(" ")),
  // the last are our own settings
  forms: [/^LC_[A-Z]+$/, /^XDG_[A-Z_]+$/, /^SEALMESH_[A-Z_]+$/],
};

const keptOnMac: Kept = { names: ["__CF_USER_TEXT_ENCODING", "XPC_SERVICE_NAME", "XPC_FLAGS"], forms: [] };

const keptOnWindows: Kept = {
  names: [
    "APPDATA LOCALAPPDATA PROGRAMDATA USERPROFILE USERNAME USERDOMAIN HOMEDRIVE HOMEPATH ALLUSERSPROFILE PUBLIC",
    "SYSTEMROOT SYSTEMDRIVE WINDIR COMSPEC PATHEXT OS TEMP TMP COMPUTERNAME NUMBER_OF_PROCESSORS",
  ].flatMap((line) => line.split(" ")),
  forms: [/^PROCESSOR_[A-Z0-9_]+$/, /^(COMMON)?PROGRAM(FILES|W6432)(\(X86\))?$/],
};

/** Node's own that do no more than name its version or kind of use; they are dropped all the same. */
const harmless: readonly string[] = ["NODE_ENV", "NODE_VERSION"];

const dangerousVariables: readonly RegExp[] = [
  // Node: options, modules, certificates, files that it writes, what it logs
  /^NODE_/,
  // the dynamic loaders of Linux and macOS
  /^(LD|DYLD)_/,
  // what the C library loads, or tells of its memory
  /^(GCONV_PATH|GLIBC_TUNABLES|LOCPATH|NLSPATH|RESOLV_HOST_CONF|RES_OPTIONS|HOSTALIASES|LOCALDOMAIN)$/,
  /^Malloc[A-Z]/,
  /^MALLOC_/,
  // what the parts written in Rust are loaded from
  /^NAPI_RS_/,
  // TLS: keys of sessions, whom to trust, what to load
  /^SSLKEYLOGFILE$/,
  /^OPENSSL_/,
  /^SSL_CERT_(FILE|DIR)$/,
  // options that npm hands on to Node, and the programs that it would run
  /^npm_config_(node_options|script_shell)$/i,
  // what a shell or Python loads
  /^BASH_ENV$/,
  /^PYTHON(PATH|HOME|STARTUP)$/,
  // what the parts written in Rust log of connections
  /^RUST_LOG$/,
];

export interface Variables {
  /** May stay. */
  readonly kept: readonly string[];
  readonly dangerous: readonly string[];
  /** Neither: dropped, and not told. */
  readonly others: readonly string[];
}

/** @param more further names that this process gets from us */
export function sortVariables(
  names: readonly string[],
  platform: NodeJS.Platform,
  more: readonly string[] = [],
): Variables {
  const windows = platform === "win32";
  const tables = [kept, ...(windows ? [keptOnWindows] : platform === "darwin" ? [keptOnMac] : [])];
  const found = { kept: [] as string[], dangerous: [] as string[], others: [] as string[] };
  for (const name of names) {
    const plain = windows ? name.toUpperCase() : name;
    const mayStay = tables.some((table) => table.names.includes(plain) || table.forms.some((form) => form.test(plain)));
    if (mayStay || more.includes(plain)) found.kept.push(name);
    else if (!harmless.includes(plain) && dangerousVariables.some((one) => one.test(plain) || one.test(name))) {
      found.dangerous.push(name);
    } else found.others.push(name);
  }
  return { ...found, dangerous: found.dangerous.toSorted() };
}

/**
 * Where the inspector would listen if a signal opened it before the node's own code runs: an address that no machine has
 * (RFC 5737), so that it cannot.
 */
const nowhere = "--inspect-port=192.0.2.1:65535";
const withoutSignal = "--disable-sigusr1";

/** The flags of Node that a hardened process runs with. @param known process.allowedNodeEnvironmentFlags */
export function ownFlags(known: ReadonlySet<string>): readonly string[] {
  return [known.has(withoutSignal) ? withoutSignal : nowhere];
}

export interface GivenFlags {
  /** Names of flags that are not ours, without their values; sorted, each once. */
  readonly foreign: readonly string[];
  /** Those of them that open the inspector. */
  readonly inspecting: readonly string[];
}

/** @param given process.execArgv */
export function sortFlags(given: readonly string[], own: readonly string[]): GivenFlags {
  const names = given
    .filter((word) => word.startsWith("-") && !own.includes(word))
    .map((word) => word.replace(/=.*$/s, ""));
  // a value that stands by itself belongs to a flag before it, which has been named
  const foreign = [...new Set(names)].toSorted();
  return { foreign, inspecting: foreign.filter((name) => /^--(inspect|debug)/.test(name)) };
}
