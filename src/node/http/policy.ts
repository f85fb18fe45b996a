/** GET /api/policy: what is demanded of hosts and who passes, also with other demands than the node's own. */
import type { Hono } from "hono";
import { tiers } from "../../attest/verdict.ts";
import { MeshError } from "../../base/errors.ts";
import type { PolicyReport, WhatIf } from "../policy-report.ts";

/** Undefined: no other demands are tried. */
export type PolicyPart = (wish: WhatIf | undefined) => PolicyReport;

const names = ["require_attested_hosts", "require_encryption", "require_hardened"] as const;
type Name = (typeof names)[number];

export function addPolicyRoute(app: Hono, policy: PolicyPart): void {
  app.get("/api/policy", (context) => context.json(policy(whatIfOf(context.req.query()))));
}

/** @throws E_INPUT another name, or another value */
export function whatIfOf(query: Readonly<Record<string, string>>): WhatIf | undefined {
  const given = Object.keys(query);
  if (given.length === 0) return undefined;
  if (given.some((name) => !names.some((known) => known === name))) {
    throw new MeshError("E_INPUT", `what can be tried is ${names.join(", ")}`);
  }
  const asked = query["require_attested_hosts"];
  const tier = tiers.find((known) => known === asked);
  if (asked !== undefined && tier === undefined) {
    throw new MeshError("E_INPUT", `require_attested_hosts takes one of ${tiers.join(", ")}`);
  }
  return {
    attested: tier,
    encryption: yesOrNo(query, "require_encryption"),
    hardened: yesOrNo(query, "require_hardened"),
  };
}

function yesOrNo(query: Readonly<Record<string, string>>, name: Name): boolean | undefined {
  const value = query[name];
  if (value === undefined) return undefined;
  if (value === "0" || value === "1") return value === "1";
  throw new MeshError("E_INPUT", `${name} takes 0 or 1`);
}
