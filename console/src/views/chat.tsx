/** View 4: asks a model of the mesh, and says under each answer who gave it, over which route, sealed how, proven how. */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "../parts/icon.tsx";
import { Empty, NeedsSession } from "../parts/states.tsx";
import { linkTo } from "../route.ts";
import type { Session } from "../session.ts";
import type { ExchangeReport, Status } from "../types.ts";
import { promptWords } from "../words.ts";
import { Answer, type Turn } from "./answer.tsx";
import { conversation, type Step } from "./conversation.ts";
import { lastTurns, type Message } from "./history.ts";

interface ChatProps {
  readonly status: Status;
  /** Reports of what has ended: an answer of this page is among them in a moment. */
  readonly exchanges: readonly ExchangeReport[];
  readonly session: Session;
}

/** Of this page; gone with it. Outside of the view, so that looking at another one ends nothing. */
let kept: { readonly turns: readonly Turn[]; readonly model: string } = { turns: [], model: "" };
let running: AbortController | undefined;
let changed: () => void = () => undefined;

function keep(turns: readonly Turn[]): void {
  kept = { ...kept, turns };
  changed();
}

export function ChatView({ status, exchanges, session }: ChatProps): JSX.Element {
  const [, redraw] = useState(0);
  useEffect(() => {
    changed = () => redraw((before) => before + 1);
    return () => {
      changed = () => undefined;
    };
  }, []);
  const { models } = status;
  const model = models.includes(kept.model) ? kept.model : (models[0] ?? "");
  const busy = kept.turns.at(-1)?.state === "answering";
  const pick = (name: string): void => {
    kept = { ...kept, model: name };
    changed();
  };
  return (
    <div class="chat">
      <header class="head">
        <div>
          <h1>Chat</h1>
          <p class="lead">What is said here stays in this page, and is gone when it is closed.</p>
        </div>
        <div class="chat-tools">
          {models.length > 0 && (
            <label class="field">
              <span class="label">Model</span>
              <select class="input" value={model} onChange={({ currentTarget }) => pick(currentTarget.value)}>
                {models.map((name) => (
                  <option key={name} value={name}>
                    {name}
                  </option>
                ))}
              </select>
            </label>
          )}
          {kept.turns.length > 0 && (
            <button type="button" class="button" disabled={busy} onClick={() => keep([])}>
              Clear
            </button>
          )}
        </div>
      </header>
      <NeedsSession session={session} todo="To chat" />
      {models.length === 0 ? (
        <NoModel />
      ) : (
        <Conversation status={status} exchanges={exchanges} model={model} able={session === "valid"} busy={busy} />
      )}
    </div>
  );
}

function NoModel(): JSX.Element {
  return (
    <Empty title="No model can be asked now">
      <p>
        A host brings models along. <a href={linkTo({ view: "invite" })}>Invite one</a>, or start it with{" "}
        <code>sealmesh serve</code>.
      </p>
    </Empty>
  );
}

interface ConversationProps {
  readonly status: Status;
  readonly exchanges: readonly ExchangeReport[];
  readonly model: string;
  /** Whether the session lets this page ask. */
  readonly able: boolean;
  readonly busy: boolean;
}

function Conversation({ status, exchanges, model, able, busy }: ConversationProps): JSX.Element {
  const end = useRef<HTMLDivElement>(null);
  const last = kept.turns.at(-1);
  // follows the answer, unless the person has scrolled up to read
  useEffect(() => {
    const { scrollHeight } = document.documentElement;
    if (scrollHeight - scrollY - innerHeight < 160) end.current?.scrollIntoView({ block: "end" });
  }, [kept.turns.length, last?.text, last?.state]);
  const send = (text: string): void => void ask(text, model, status);
  return (
    <>
      <div class="turns" role="log" aria-label="Conversation" aria-busy={busy}>
        {kept.turns.map((turn, index) => (
          <Answer
            key={index}
            turn={turn}
            status={status}
            report={exchanges.find(({ id }) => id === turn.told?.requestId)}
          />
        ))}
        <div ref={end} class="turns-end" />
      </div>
      {kept.turns.length === 0 && <Suggestions status={status} model={model} able={able} send={send} />}
      <Composer model={model} able={able} busy={busy} send={send} />
    </>
  );
}

/** The name that the demo model's file gives it. */
function isDemo(model: string): boolean {
  return /(^|[/\s-])demo$/i.test(model);
}

function Suggestions(props: {
  readonly status: Status;
  readonly model: string;
  readonly able: boolean;
  readonly send: (text: string) => void;
}): JSX.Element {
  const { status, model, able, send } = props;
  if (!isDemo(model)) {
    return (
      <div class="chat-blank">
        <Icon name="sealed" />
        <p>{promptWords(status, model)}</p>
      </div>
    );
  }
  return (
    <div class="chat-blank">
      <p>This is the demo model: it knows a few answers about sealmesh, and nothing else.</p>
      <ul class="suggestions">
        {__DEMO_QUESTIONS__.map((question) => (
          <li key={question}>
            <button type="button" class="button" disabled={!able} onClick={() => send(question)}>
              {question}
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}

interface ComposerProps {
  readonly model: string;
  readonly able: boolean;
  readonly busy: boolean;
  readonly send: (text: string) => void;
}

function Composer({ model, able, busy, send }: ComposerProps): JSX.Element {
  const [text, setText] = useState("");
  const submit = (event: Event): void => {
    event.preventDefault();
    if (busy || !able || text.trim() === "") return;
    send(text.trim());
    setText("");
  };
  const onKey = (event: KeyboardEvent): void => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
  };
  return (
    <form class="composer" onSubmit={submit}>
      <textarea
        rows={1}
        value={text}
        aria-label={`Message to ${model}`}
        placeholder={able ? `Ask ${model}` : "This page only reads"}
        disabled={!able}
        onInput={({ currentTarget }) => setText(currentTarget.value)}
        onKeyDown={onKey}
      />
      {busy ? (
        <button key="stop" type="button" class="button round danger" onClick={() => running?.abort()}>
          <Icon name="stop" />
          Stop
        </button>
      ) : (
        <button key="send" type="submit" class="button round primary" disabled={!able || text.trim() === ""}>
          <Icon name="send" />
          Send
        </button>
      )}
    </form>
  );
}

async function ask(text: string, model: string, status: Status): Promise<void> {
  const said = kept.turns.flatMap(({ question, text: answer, state }): readonly Message[] =>
    answer === "" || state === "failed"
      ? []
      : [
          { role: "user", content: question },
          { role: "assistant", content: answer },
        ],
  );
  const messages = lastTurns([...said, { role: "user", content: text }], contextOf(status, model));
  const before = kept.turns;
  let turn: Turn = { question: text, model, text: "", state: "answering", why: "", told: undefined };
  const show = (change: Partial<Turn>): void => {
    turn = { ...turn, ...change };
    keep([...before, turn]);
  };
  show({});
  const stop = new AbortController();
  running = stop;
  const question = { model, messages, signal: stop.signal, ...(isDemo(model) ? { temperature: 0 } : {}) };
  for await (const step of conversation(question)) show(after(turn, step));
  running = undefined;
}

function after(turn: Turn, step: Step): Partial<Turn> {
  switch (step.kind) {
    case "told":
      return { told: step.told };
    case "text":
      return { text: turn.text + step.text };
    case "ended":
      return { state: step.how, why: step.why };
  }
}

/** The smallest that anybody says of this model, tokens. */
function contextOf({ peers, engines }: Status, model: string): number | null {
  const said = [...peers.flatMap(({ model_states: states }) => states), ...engines.flatMap(({ models }) => models)]
    .filter(({ id }) => id === model)
    .flatMap(({ context_length: context }) => (context === null ? [] : [context]));
  return said.length === 0 ? null : Math.min(...said);
}
