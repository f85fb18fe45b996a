/** The frame of the page: where one can go, whether the node is there, and the view itself. */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Connection, connectLive, type Live, useLive } from "./live.ts";
import { Icon, type IconName, Mark } from "./parts/icon.tsx";
import { Loading } from "./parts/states.tsx";
import { linkTo, type Route, useRoute, type ViewName, views } from "./route.ts";
import { type Session, useSession } from "./session.ts";
import { chosenTheme, setTheme, type Theme, themes } from "./theme.ts";
import { ChatView } from "./views/chat.tsx";
import { ExchangesView } from "./views/exchanges.tsx";
import { InviteView } from "./views/invite.tsx";
import { MeshView } from "./views/mesh.tsx";
import { PeerView } from "./views/peer.tsx";
import { PolicyView } from "./views/policy.tsx";
import { clockTime, ownName, shortId } from "./words.ts";

const titles: Readonly<Record<ViewName, string>> = {
  mesh: "Mesh",
  chat: "Chat",
  exchanges: "Exchanges",
  policy: "Policy",
  invite: "Invite",
};

export function App(): JSX.Element {
  const route = useRoute();
  const live = useLive();
  const session = useSession();
  useTitle(route);
  return (
    <div class="shell">
      <a class="skip" href="#content" onClick={skip}>
        Skip to the content
      </a>
      <header class="side">
        <Brand live={live} />
        <Navigation route={route} />
        <Footer live={live} session={session} />
      </header>
      <main id="content" class={live.connection === "lost" ? "content old" : "content"} tabIndex={-1}>
        <LostBanner live={live} />
        {live.status === undefined ? (
          live.connection === "connecting" && <Loading what="the mesh" />
        ) : (
          <View route={route} live={live} session={session} />
        )}
      </main>
      <p class="unseen" role="status">
        {live.changes[0]?.text ?? ""}
      </p>
    </div>
  );
}

/** The address holds the view, so that a link to a place in the page must not change it. */
function skip(event: Event): void {
  event.preventDefault();
  document.querySelector<HTMLElement>("#content")?.focus();
}

/** A new view is named in the window, and read from its beginning. */
function useTitle(route: Route): void {
  const first = useRef(true);
  const id = route.view === "peer" ? route.id : "";
  useEffect(() => {
    document.title = `${route.view === "peer" ? `Peer ${shortId(id)}` : titles[route.view]} · sealmesh`;
    if (!first.current) {
      scrollTo(0, 0);
      document.querySelector<HTMLElement>("#content")?.focus({ preventScroll: true });
    }
    first.current = false;
  }, [route.view, id]);
}

interface ViewProps {
  readonly route: Route;
  readonly live: Live;
  readonly session: Session;
}

function View({ route, live, session }: ViewProps): JSX.Element | null {
  const { status, exchanges, changes } = live;
  if (status === undefined) return null;
  switch (route.view) {
    case "mesh":
      return <MeshView status={status} changes={changes} />;
    case "peer":
      return <PeerView id={route.id} status={status} session={session} />;
    case "exchanges":
      return <ExchangesView status={status} exchanges={exchanges} />;
    case "chat":
      return <ChatView status={status} exchanges={exchanges} session={session} />;
    case "policy":
      return <PolicyView status={status} />;
    case "invite":
      return <InviteView status={status} session={session} />;
  }
}

function Brand({ live }: { readonly live: Live }): JSX.Element {
  return (
    <a class="brand" href="#/mesh">
      <Mark />
      <span>
        <span class="brand-name">sealmesh</span>
        <span class="brand-node">{live.status ? ownName(live.status) : " "}</span>
      </span>
    </a>
  );
}

function Navigation({ route }: { readonly route: Route }): JSX.Element {
  const here = route.view === "peer" ? "mesh" : route.view;
  return (
    <nav class="nav" aria-label="Views">
      <ul>
        {views.map((view) => (
          <li key={view}>
            <a href={linkTo({ view })} aria-current={view === here ? "page" : undefined}>
              <Icon name={view satisfies IconName} />
              {titles[view]}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

const connectionWords: Readonly<Record<Connection, string>> = {
  connecting: "Connecting",
  live: "Live",
  lost: "Not connected",
};

function Footer({ live, session }: { readonly live: Live; readonly session: Session }): JSX.Element {
  return (
    <div class="side-foot">
      <p class={`connection ${live.connection}`}>
        <span class="dot" aria-hidden="true" />
        {connectionWords[live.connection]}
        {session !== "valid" && live.connection === "live" && session !== "unchecked" && ", read-only"}
      </p>
      <ThemeButton />
      {live.status && <p class="version">{`sealmesh ${live.status.version}`}</p>}
    </div>
  );
}

const themeWords: Readonly<Record<Theme, { readonly word: string; readonly icon: IconName }>> = {
  auto: { word: "As the system", icon: "auto" },
  light: { word: "Light", icon: "sun" },
  dark: { word: "Dark", icon: "moon" },
};

function ThemeButton(): JSX.Element {
  const [theme, change] = useState(chosenTheme);
  const next = themes[(themes.indexOf(theme) + 1) % themes.length] ?? "auto";
  const turn = (): void => {
    setTheme(next);
    change(next);
  };
  return (
    <button
      type="button"
      class="button bare theme"
      onClick={turn}
      aria-label={`Colours: ${themeWords[theme].word}. Change to: ${themeWords[next].word}`}
    >
      <Icon name={themeWords[theme].icon} />
      <span class="theme-word">{themeWords[theme].word}</span>
    </button>
  );
}

function lostWords({ stopped, refusal }: Live): string {
  if (stopped) return "The node has stopped.";
  return refusal === "" ? "The connection to the node is lost." : "The node does not let this page follow it.";
}

function LostBanner({ live }: { readonly live: Live }): JSX.Element | null {
  const [now, setNow] = useState(Date.now());
  const lost = live.connection === "lost";
  useEffect(() => {
    if (!lost) return undefined;
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [lost]);
  if (!lost) return null;
  const seconds = Math.max(0, Math.ceil((live.retryMs - now) / 1_000));
  const shown = live.status ? ` What you see is from ${clockTime(live.statusMs)}.` : "";
  return (
    <div class="banner">
      <p role="alert">
        <strong>{lostWords(live)}</strong>
        {live.refusal !== "" && ` ${live.refusal}`}
        {shown}
        {live.stopped && (
          <>
            {" Start it again with the "}
            <code>sealmesh</code> command that you used.
          </>
        )}
      </p>
      <button type="button" class="button" onClick={connectLive}>
        {live.retryMs === 0 ? "Trying …" : `Try now (${seconds} s)`}
      </button>
    </div>
  );
}
