/** docs/scaling.md: its bounds are those of the code. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { membershipLimits } from "../../../src/mesh/membership.ts";
import { limits } from "../../../src/wire/limits.ts";

const page = readFileSync(new URL("../../../docs/scaling.md", import.meta.url), "utf8");
const valueOf = (bound: string): string | undefined =>
  page
    .split("\n")
    .find((line) => line.startsWith(`| ${bound} |`))
    ?.split("|")[2]
    ?.trim();

it.each([
  ["peers in the table", membershipLimits.peers],
  ["links that a node makes", membershipLimits.linksWanted],
  ["dials at a time", membershipLimits.dialing],
  ["dials at a time to one address, of peers known from others only", membershipLimits.dialingPerAddress],
  ["peers looked for", membershipLimits.remembered],
  ["dials a second when many are looked for", 1_000 / membershipLimits.returnEachMs],
  ["peers remembered as gone", membershipLimits.goneHeld],
  ["entries of a frame that are read", limits.announcementsPerFrame],
  ["entries of others that we write into a frame", limits.entriesTold],
  ["items of a digest", limits.digestItems],
])("the page has the number of %s", (bound, value) => {
  expect(valueOf(bound)).toBe(value.toLocaleString("en-US"));
});

it("the page has the numbers of refuted reports, records, links and rounds of news", () => {
  const { refutedHeld, refutedMs, linksWanted, newsSpaceMs, newsEachMs, newsPeers, heartbeatPeers } = membershipLimits;
  expect(valueOf("reports of lost peers not believed")).toBe(`${refutedHeld} for ${refutedMs / 1_000} s`);
  expect(valueOf("one record")).toBe(`${limits.recordBytes.toLocaleString("en-US")} bytes`);
  expect(valueOf("links")).toBe(`${linksWanted} to some 30`);
  expect(valueOf("heartbeats")).toBe(`${heartbeatPeers} a minute, and as many answered`);
  expect(valueOf("rounds of news")).toBe(
    `one in ${newsSpaceMs / 1_000} s at most, one in links × ${newsEachMs} ms where that is more`,
  );
  expect(page).toContain(`each goes to ${newsPeers} links`);
});
