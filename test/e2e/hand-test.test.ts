/** docs/hand-test.md, step by step, between two home directories: true before two people do it on two machines. */
import { runPage } from "../support/run-page.ts";

runPage("docs/hand-test.md", { steps: 14, commands: 30 });
