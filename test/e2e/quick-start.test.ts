/** docs/quick-start.md as it stands: what a new user types, and sees. */
import { runPage } from "../support/run-page.ts";

runPage("docs/quick-start.md", { steps: 2, commands: 6 });
