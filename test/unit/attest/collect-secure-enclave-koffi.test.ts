/** A Mac on which the package that calls C was not installed: it is optional. */
import { expect, it, vi } from "vitest";
import { secureEnclaveCollector } from "../../../src/attest/collect/secure-enclave.ts";
import { recorded } from "../../support/security-framework/mac.ts";

vi.mock("koffi", () => {
  throw new Error("Cannot find package 'koffi'");
});

it("without koffi there is no evidence of a Secure Enclave, and a sentence says why", async () => {
  const collector = secureEnclaveCollector.create({ runCommand: recorded().run });
  await expect(collector.sign(new Uint8Array(1))).rejects.toThrow(
    "the package koffi is not installed; without it macOS cannot be asked for a key",
  );
});
