import { describe, expect, it } from "vitest";
import { ownFlags, sortFlags, sortVariables } from "../../../src/harden/inheritance.ts";

describe("variables of the starter", () => {
  const kept = [
    "PATH",
    "HOME",
    "LC_ALL",
    "XDG_STATE_HOME",
    "SEALMESH_JOIN",
    "STATE_DIRECTORY",
    "CUDA_VISIBLE_DEVICES",
    "HF_TOKEN",
  ];
  const dangerous = [
    "NODE_OPTIONS NODE_PATH NODE_V8_COVERAGE NODE_EXTRA_CA_CERTS NODE_DEBUG NODE_CHANNEL_FD",
    "LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT DYLD_INSERT_LIBRARIES DYLD_FRAMEWORK_PATH",
    "SSLKEYLOGFILE OPENSSL_CONF OPENSSL_MODULES SSL_CERT_FILE GCONV_PATH GLIBC_TUNABLES",
    "MALLOC_PERTURB_ MallocStackLogging npm_config_node_options NPM_CONFIG_NODE_OPTIONS PYTHONPATH BASH_ENV RUST_LOG",
  ].flatMap((line) => line.split(" "));
  const others = [
    "EDITOR",
    "http_proxy",
    "NODE_ENV",
    "NODE_VERSION",
    "NODE",
    "npm_lifecycle_event",
    "ENV",
    "sealmesh_x",
  ];

  it("are kept by name alone, and what is dangerous is told", () => {
    const sorted = sortVariables([...others, ...dangerous, ...kept], "linux");
    expect(sorted).toEqual({ kept, dangerous: dangerous.toSorted(), others });
  });

  it("are compared without case on Windows, and nowhere else", () => {
    const names = ["Path", "SystemRoot", "node_options", "ProgramFiles(x86)"];
    const { kept: windows, dangerous: found } = sortVariables(names, "win32");
    expect({ windows, found }).toEqual({
      windows: ["Path", "SystemRoot", "ProgramFiles(x86)"],
      found: ["node_options"],
    });
    expect(sortVariables(names, "linux")).toMatchObject({ kept: [], dangerous: [], others: names });
  });

  it("may be given by us on purpose", () => {
    expect(sortVariables(["NODE_CHANNEL_FD", "X"], "linux", ["NODE_CHANNEL_FD"])).toEqual({
      kept: ["NODE_CHANNEL_FD"],
      dangerous: [],
      others: ["X"],
    });
  });
});

describe("flags of Node", () => {
  const own = ownFlags(new Set());

  it("are ours and nobody's else", () => {
    const given = [...own, "--require", "./x.cjs", "--require", "./y.cjs", "-r", "z", "--max-old-space-size=100"];
    expect(sortFlags(given, own)).toEqual({ foreign: ["--max-old-space-size", "--require", "-r"], inspecting: [] });
    expect(sortFlags([...own], own)).toEqual({ foreign: [], inspecting: [] });
  });

  it("open the inspector in any of their forms", () => {
    const given = ["--inspect", "--inspect-brk=0.0.0.0:1", "--inspect-port=9229", "--inspect-wait", "--debug-port=1"];
    expect(sortFlags(given, own).inspecting).toEqual([
      "--debug-port",
      "--inspect",
      "--inspect-brk",
      "--inspect-port",
      "--inspect-wait",
    ]);
  });

  it("keep SIGUSR1 from opening it: by Node's own flag where there is one, else by an address that no machine has", () => {
    expect(ownFlags(new Set(["--disable-sigusr1"]))).toEqual(["--disable-sigusr1"]);
    expect(own).toEqual(["--inspect-port=192.0.2.1:65535"]);
  });
});
