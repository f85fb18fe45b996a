/** The commands, in the order of the help. A new one is one file in commands/ and one line here. */
import type { Command, CommandGroup } from "./command.ts";
import { builds } from "./commands/builds.ts";
import { chat } from "./commands/chat.ts";
import { client } from "./commands/client.ts";
import { completion } from "./commands/completion.ts";
import { config } from "./commands/config.ts";
import { console } from "./commands/console.ts";
import { demo } from "./commands/demo.ts";
import { discover } from "./commands/discover.ts";
import { doctor } from "./commands/doctor.ts";
import { engine } from "./commands/engine.ts";
import { explain } from "./commands/explain.ts";
import { invite } from "./commands/invite.ts";
import { logs } from "./commands/logs.ts";
import { measure } from "./commands/measure.ts";
import { models } from "./commands/models.ts";
import { owner } from "./commands/owner.ts";
import { peers } from "./commands/peers.ts";
import { pull } from "./commands/pull.ts";
import { relay } from "./commands/relay.ts";
import { serve } from "./commands/serve.ts";
import { service } from "./commands/service.ts";
import { status } from "./commands/status.ts";
import { stop } from "./commands/stop.ts";
import { trust } from "./commands/trust.ts";
import { verify } from "./commands/verify.ts";
import { version } from "./commands/version.ts";

export const commands: readonly (Command | CommandGroup)[] = [
  serve,
  client,
  relay,
  stop,
  chat,
  models,
  peers,
  status,
  console,
  logs,
  explain,
  invite,
  discover,
  verify,
  trust,
  owner,
  builds,
  measure,
  pull,
  engine,
  doctor,
  service,
  config,
  completion,
  demo,
  version,
];
