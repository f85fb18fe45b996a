/**
 * One node: its parts, built in order and passed down, and their end in reverse. Called by the CLI; knows no flag, no
 * terminal and no signal.
 */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type EndpointId } from "../base/brand.ts";
import type { Collector, CollectorKind, CollectorSettings } from "../attest/collect/collector.ts";
import { collectorKinds } from "../attest/collect/registry.ts";
import { Budget } from "../base/budget.ts";
import { equal } from "../base/bytes.ts";
import { systemClock } from "../base/clock.ts";
import { sleep, withDeadline } from "../base/deadline.ts";
import { MeshError, toMeshError, unlessMeshError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { Places } from "../base/places.ts";
import type { Signal } from "../base/signal.ts";
import { identityFrom } from "../crypto/identity.ts";
import { addressDigest } from "../crypto/record.ts";
import { InferenceKeys } from "../crypto/inference-keys.ts";
import { answer, type AnswerParts, type Arrival, ask, type AskParts } from "../exchange.ts";
import { Affinity } from "../mesh/affinity.ts";
import { HostLoad, relayCapability, relaysNaming } from "../mesh/choose.ts";
import { attestHandlers } from "../mesh/attest-serve.ts";
import type { SelfDescription } from "../mesh/entries.ts";
import type { Peer } from "../mesh/membership.ts";
import { Mesh, type StreamHandler } from "../mesh/mesh.ts";
import { rolesBy } from "../mesh/roles.ts";
import { engineFolder } from "../engine/llama-package.ts";
import { lookAgain } from "../harden/harden.ts";
import type { HardeningReport } from "../harden/report.ts";
import { knownProof } from "../policy/decide.ts";
import { ResponseStore } from "../openai/responses/store.ts";
import { transports } from "../transport/registry.ts";
import { fileTap, tapTransport } from "../transport/tap.ts";
import { parseSocketAddress } from "../transport/socket-address.ts";
import { alpns, type Transport, type TransportKind } from "../transport/transport.ts";
import type { HttpRequest, HttpResponse } from "../tunnel/http.ts";
import { SeenCache } from "../tunnel/seen.ts";
import type { EndpointAddress } from "../wire/address.ts";
import { encodeInvite, type InviteExtra, strictest } from "../wire/invite.ts";
import { limits } from "../wire/limits.ts";
import { namedMeshId } from "../wire/mesh-id.ts";
import { encodePosture, type Posture } from "../wire/posture.ts";
import type { Role } from "../wire/gossip.ts";
import type { RecordModel } from "../wire/record.ts";
import type { HostPort, NodeConfig } from "./config.ts";
import { Admission } from "./admission.ts";
import { Joining } from "./joining.ts";
import { type ExplainReport, type FactorRow, policyStatus } from "./attestation-report.ts";
import { Attester } from "./attester.ts";
import { BuildLists, listTrust } from "./build-lists.ts";
import { defaults } from "./defaults.ts";
import { type Engines, openEngines } from "./engines.ts";
import { NodeEvents } from "./events.ts";
import { Exchanges, type ExchangeReport } from "./exchanges.ts";
import { consolePort } from "./http/console-port.ts";
import { hardeningStatus } from "./hardening-status.ts";
import { gateRules } from "./http/gate.ts";
import { openAiSurface } from "./http/openai.ts";
import { LocalCalls } from "./local-calls.ts";
import { LogRing } from "./log-ring.ts";
import { Measurements } from "./measurements.ts";
import { type Gauges, Metrics } from "./metrics.ts";
import { fetchModels } from "./models.ts";
import { Pinning } from "./pinning.ts";
import { type BuildDigests, postureDocument, postureOf } from "./posture.ts";
import { decodeKnownMembers, encodeKnownMembers } from "./known-members.ts";
import { ownerReport } from "./owner-status.ts";
import { Ownership } from "./ownership.ts";
import { type Described, RecordKeeper } from "./record-keeper.ts";
import { Relaying } from "./relaying.ts";
import { choose, type RoutingParts } from "./routing.ts";
import { openSession, type Session } from "./session.ts";
import { openState, type State } from "./state.ts";
import { Telemetry } from "./telemetry.ts";
import { Trust } from "./trust.ts";
import { admissionStatus, evidenceStatus, exchangesStatus, keyFingerprint, peerStatus, type Status } from "./status.ts";
import { announcedVersion, version } from "./version.ts";

export interface Node {
  readonly endpointId: EndpointId;
  /** Undefined: a relay has no API port. */
  readonly apiUrl: string | undefined;
  readonly consoleUrl: string | undefined;
  /** The invite that the node shows by itself, with its addresses of now. @throws E_REFUSED it may not invite */
  invite(): string;
  /** Whether there is such an invite. */
  readonly mayInvite: boolean;
  /** Models of the whole mesh, known now. */
  models(): readonly string[];
  status(): Status;
  /** Answers the program around this node as the API port would answer a caller of this machine. @throws as {@link LocalCalls} */
  call(request: HttpRequest, signal: Signal): Promise<HttpResponse>;
  /** Who of the hosts of a model, or whether a peer, would be used, and why; undefined when nobody is meant. */
  explain(what: string, signal: Signal): Promise<ExplainReport | undefined>;
  /** What was found of a host, factor by factor; nobody is asked. */
  verdict(host: EndpointId): readonly FactorRow[];
  /** Opens envelopes with this node's keys: for tests that hold the node in their own process. */
  readonly keys: InferenceKeys;
  /**
   * Stops taking requests, lets running ones finish for `drainMs`, leaves the mesh, ends engines. Safe to call twice;
   * a later call with a shorter time shortens the wait.
   */
  stop(drainMs?: number): Promise<void>;
}

export interface NodeOptions {
  readonly log: Log;
  /** Called after peers, models or engines changed. */
  readonly onChange?: () => void;
  /** Called when somebody with the session token asks for the end of the process; it calls stop(). @default it is refused */
  readonly onStopAsked?: () => void;
  /** Called when an exchange that was asked for here has ended. */
  readonly onAsked?: (report: ExchangeReport) => void;
  /** @default the first of the registry: iroh */
  readonly transport?: TransportKind;
  /** What makes evidence. @default the registry */
  readonly collectors?: readonly CollectorKind[];
  /** What this process found about itself at its start. @default nobody looked: it tells that nothing is known */
  readonly hardening?: HardeningReport | undefined;
  /** Digests of what runs, once it is measured; nobody waits for it, and a failure says nothing. @default Measurements */
  readonly measurement?: Promise<BuildDigests> | undefined;
}

/**
 * Starts a node; resolves when it can serve: engines up or known to be down, mesh joined or the attempt given up for now.
 * @throws E_STATE, E_PORT, E_CONFIG, E_INPUT, E_NO_ENGINE; nothing is left running then
 */
export async function startNode(config: NodeConfig, options: NodeOptions): Promise<Node> {
  const running = new RunningNode(config, options);
  try {
    await running.start();
    return running;
  } catch (thrown) {
    await running.stop(0);
    throw thrown;
  }
}

class RunningNode implements Node {
  readonly #config: NodeConfig;
  readonly #options: NodeOptions;
  readonly #log: LogRing;
  /** What members may do; asked once there is a mesh. */
  readonly #roles = rolesBy((id) => this.#parts?.mesh.roleOf(id));
  readonly #clock = systemClock;
  readonly #stopping = new AbortController();
  readonly #relaying: Relaying;
  readonly #reports = new Exchanges();
  readonly #events = new NodeEvents({ ...defaults.events, status: () => this.status() });
  readonly #metrics = new Metrics(version, {
    running: () => this.#parts?.engines.load().running ?? 0,
    queued: () => this.#parts?.engines.load().queued ?? 0,
    inFlight: () => this.#exchanges,
    peers: () => this.#parts?.mesh.peers.length ?? 0,
    hosts: () => (this.#parts ? this.#judged(this.#parts) : []),
    engines: () => this.#parts?.engines.status() ?? [],
    relayed: () => this.#relaying.status(),
    spans: () => this.#telemetry?.counts ?? { sent: 0, dropped: 0 },
  });
  /** What to do at the end, last built first. */
  readonly #closers: (() => Promise<void> | void)[] = [];
  #parts: Parts | undefined;
  /** Before the other parts, for what the first record says of them. */
  #engines: Engines | undefined;
  #transport: Transport | undefined;
  #measurement: BuildDigests | undefined;
  #looked: { readonly atMs: number; readonly report?: HardeningReport } = { atMs: Number.NEGATIVE_INFINITY };
  #telemetry: Telemetry | undefined;
  #exchanges = 0;
  #drainUntilMs = Number.POSITIVE_INFINITY;
  #ended: Promise<void> | undefined;

  constructor(config: NodeConfig, options: NodeOptions) {
    this.#config = config;
    this.#options = options;
    this.#log = new LogRing(options.log, { ...defaults.logRing, now: () => this.#clock.now() });
    this.#relaying = new Relaying({
      settings: config.relaying,
      mesh: () => this.#need().mesh,
      roles: this.#roles,
      clock: this.#clock,
      log: this.#log,
    });
  }

  async start(): Promise<void> {
    const config = this.#config;
    const clock = this.#clock;
    // 1 identity and keys
    const state = openState(config.dataDir, (error) => this.#notKept(error));
    this.#closers.push(() => state.close());
    const measurements = this.#measure(state);
    const identity = identityFrom(state.identitySeed);
    const keys = new InferenceKeys({ clock });
    const ownership = this.#openOwnership(state, identity.id);
    this.#openTelemetry(identity.id);
    this.#closers.push(() => keys.wipe());
    const attester = new Attester({
      collectors: this.#collectors(state),
      endpointId: identity.id,
      inferenceKey: () => this.#parts?.records.key.publicKey ?? keys.current.publicKey,
      clock,
      log: this.#log,
      told: () => ({ posture: encodePosture(this.#posture()), measurement: this.#measurement?.build }),
      collectMs: defaults.evidenceMs,
    });
    this.#closers.push(() => attester.close());
    const found = config.finding;
    const admission = new Admission({
      directory: config.dataDir,
      identity,
      clock,
      log: this.#log,
      invites: config.join,
      open: config.openMesh,
      inviteOnly: found?.inviteOnly,
      ...(found?.name === undefined ? {} : { name: found.name }),
      ...(found?.name === undefined || found.inviteOnly ? {} : { openId: namedMeshId(found.name) }),
      token: (mesh) => this.#token(mesh),
      onOwnChange: () => this.#changed(),
      onRevoked: () => this.#parts?.mesh.judgeMembers(),
    });
    this.#closers.push(() => this.#keep(admission));
    // a TPM takes a second or two, as engines do: evidence and record are published together
    const attested = attester.refresh();
    // 2 the local HTTP ports: taken first, because a port in use is the commonest mistake
    const store = new ResponseStore(defaults.responses);
    this.#every(defaults.responses.lookMs, () => store.dropExpired());
    const { server: api, answerPeer } = openAiSurface({
      gate: gateRules(config),
      tls: config.tls,
      self: identity.id,
      engineFor: (model) => this.#need().engines.forModel(model),
      localModels: () => this.#need().engines.models(),
      meshModels: () => this.models(),
      isElsewhere: (model) => this.#isOffered(model),
      ask: (request) => ask(request, this.#need().asking),
      begin: () => this.#begin(),
      choose: (path, json, asker) => choose(path, json, asker, this.#need().routing),
      store,
      places: new Places({ total: defaults.localExchanges, perHolder: defaults.localExchanges }),
      budget: new Budget({ total: defaults.bodyBytesTotal, perHolder: defaults.bodyBytesTotal }),
      onAsked: (report, error, traceparent) => this.#asked(report, error, traceparent),
      proofNow: (host) => this.#need().trust.proofNow(host),
      attestation: (model, signal) => this.#need().trust.model(model, signal),
    });
    // a relay has no use for prompts, and opens no port that takes any
    const apiUrl =
      config.mode === "relay" || config.api === undefined
        ? undefined
        : await listen(api, config.api, config.tls ? "https" : "http", "--port");
    this.#closers.push(() => closeServer(api));
    const calls = new LocalCalls(api);
    let consoleUrl: string | undefined;
    if (config.console) {
      let session: Session = closedSession;
      const admin = consolePort({
        status: () => this.status(),
        token: () => (this.mayInvite && unlessMeshError(() => this.invite())) || null,
        invites: () => this.#need().admission,
        session: () => session,
        exchanges: this.#reports,
        metrics: this.#metrics,
        evidence: () => attester.states,
        attestation: (id, signal) => this.#need().trust.peer(id, signal),
        explain: (what, signal) => this.#need().trust.explain(what, signal),
        policy: (wish) => this.#need().trust.policyReport(wish),
        pins: () => this.#need().pinning,
        events: this.#events,
        log: this.#log,
        onStopAsked: this.#options.onStopAsked,
        api: config.mode === "relay" ? undefined : api,
        ready: () =>
          this.#parts !== undefined &&
          !this.#stopping.signal.aborted &&
          (config.mode === "relay" || this.models().length > 0),
      });
      consoleUrl = await listen(admin, config.console, "http", "--console");
      this.#closers.push(() => closeServer(admin));
      this.#closers.push(async () => {
        this.#events.close();
        this.#log.close();
        await sleep(1); // their streams end as streams do, before the connections are cut
      });
      session = openSession(config.dataDir, consoleUrl);
      this.#closers.push(() => session.close());
    }
    // 3 the models of this machine
    const downloads = config.engines.flatMap((one) => (one.kind === "llama" && one.download ? [one.download] : []));
    await fetchModels(downloads, this.#log, { signal: this.#stopping.signal });
    measurements.modelsAreThere();
    const bounds = {
      running: config.maxRunning,
      runningPerHolder: Math.max(defaults.exchangesPerAsker, config.maxRunning / 2),
      queued: config.maxQueued,
      queuedPerHolder: defaults.queuedPerAsker,
      waitMs: defaults.queueMs,
    };
    const engines = await openEngines(config.engines, bounds, this.#log, () => this.#changed());
    this.#closers.push(() => engines.close());
    // 4 the mesh, and the record that ties identity, keys and models
    const capabilities = config.relayTraffic ? ["seal.v1", relayCapability] : ["seal.v1"];
    const models = (): readonly RecordModel[] => (this.#stopping.signal.aborted ? [] : engines.described());
    const nextSeq = (now: number): bigint => state.nextRecordSeq(now);
    const proven = (key: Uint8Array): boolean => attester.isPrepared(key);
    this.#engines = engines;
    const posture = (): Uint8Array => encodePosture(this.#posture());
    const described = (): Described => {
      const at = this.#transport?.address();
      const { name } = config;
      return {
        role: this.#role(engines),
        version: announcedVersion,
        ...(name === undefined ? {} : { name }),
        ...(at ? { addressDigest: addressDigest(at) } : {}),
      };
    };
    const told = { capabilities, models, posture, described, admission: () => admission };
    const records = new RecordKeeper({ identity, keys, clock, ...told, nextSeq, proven });
    const builds = await this.#openBuildLists(state);
    const transport = await this.#openTransport(identity.seed, state);
    this.#transport = transport;
    const answering: AnswerParts = {
      identity,
      keys,
      clock,
      seen: new SeenCache({ total: defaults.seenTotal, perAsker: defaults.seenPerAsker }),
      places: new Places({ total: defaults.streamsTotal, perHolder: defaults.streamsPerPeer }),
      budget: new Budget({ total: defaults.requestBytesTotal, perHolder: defaults.requestBytesPerPeer }),
      serve: answerPeer,
      coalesceMs: config.coalesceMs,
      timing: {
        firstByteMs: defaults.firstByteMs,
        requestMs: defaults.requestMs,
        keepAliveMs: limits.keepAliveMs,
        unreadMs: limits.unreadMs,
      },
      draining: () => this.#stopping.signal.aborted,
      mayAsk: (asker, credential) => this.#mayNotAsk(asker, credential, admission, ownership),
    };
    const wired = { transport, state, records, engines, answering, attester, builds, ownership, admission, apiUrl };
    const mesh = this.#openMesh(wired);
    this.#closers.push(() => mesh.close());
    const load = new HostLoad();
    const trust = new Trust({
      self: identity.id,
      config,
      mesh,
      load,
      roles: this.#roles,
      minimum: admission.minimum,
      clock,
      log: this.#log,
      pins: state.pins,
      builds,
      ownership,
      own: () => ({
        endpointId: identity.id,
        inferenceKey: records.key.publicKey,
        pieces: attester.states,
        posture: this.#posture(),
        models: engines.models(),
      }),
    });
    this.#closers.push(() => trust.proofs.close());
    const pinning = new Pinning({
      pins: state.pins,
      proofs: trust.proofs,
      carryOut: () => this.#forget(state, mesh, trust),
      clock,
      log: this.#log,
      onChange: () => this.#tellChange(),
    });
    const affinity = new Affinity({ clock });
    const asking: AskParts = {
      mesh,
      identity,
      clock,
      policy: trust.policy,
      proofs: trust.proofs,
      pad: config.pad,
      route: config.route,
      load,
      affinity,
      roles: this.#roles,
      credential: () => admission.credential,
      onRefused: (rule) => this.#metrics.observeRefused(rule),
      timing: {
        dialMs: defaults.dialMs,
        relayMs: defaults.relayMs,
        pathMs: defaults.pathMs,
        silenceMs: limits.silenceMs,
        referenceSilenceMs: limits.referenceSilenceMs,
      },
    };
    const routing: RoutingParts = {
      self: identity.id,
      ownModels: () => engines.known(),
      peers: () => this.#hosts(),
      load,
      affinity,
      now: () => clock.now(),
    };
    const joining = new Joining({
      self: identity.id,
      config,
      mesh,
      admission,
      clock,
      log: this.#log,
      nostrKey: () => state.nostrKey(),
      token: () => this.#token({}),
      models: () => this.models(),
      onChange: () => this.#tellChange(),
      stopping: this.#stopping.signal,
    });
    const parts = { endpointId: identity.id, apiUrl, consoleUrl, transport, keys, records, engines, attester, trust };
    this.#parts = { ...parts, pinning, measurements, ownership, mesh, asking, routing, admission, joining, calls };
    this.#advanceRecord(); // it names our address now
    await withDeadline(attested, { what: "the first evidence", ms: defaults.firstEvidenceMs }).catch(() => undefined);
    mesh.start();
    trust.proofs.start();
    // looked at often, not once when it is due: timers stand still while a machine sleeps
    this.#every(defaults.recordCheckMs, () => {
      const owners = ownership.advance();
      if (this.#advanceRecord() || owners.claim) mesh.announce();
      if (owners.lists) {
        mesh.judgeMembers();
        this.#tellChange();
      }
      attester.refreshIfDue(config.attest.refreshMs);
      this.#forget(state, mesh, trust);
      this.#keep(admission);
    });
    this.#log.write("info", { event: "node-started", endpoint_id: identity.id, version });
    if (admission.mode === "open") this.#sayOpen(admission);
    this.#tellChange();
    // 5 the members we were told of, and those that nobody told us of
    this.#closers.push(() => joining.close());
    await joining.start();
    measurements.begin();
  }

  get endpointId(): EndpointId {
    return this.#need().endpointId;
  }

  get apiUrl(): string | undefined {
    return this.#need().apiUrl;
  }

  get consoleUrl(): string | undefined {
    return this.#need().consoleUrl;
  }

  get keys(): InferenceKeys {
    return this.#need().keys;
  }

  invite(): string {
    const invite = this.#need().admission.standingInvite();
    if (invite === undefined) throw new MeshError("E_REFUSED", "this node may not invite others to its mesh");
    return invite;
  }

  get mayInvite(): boolean {
    return this.#need().admission.mayInvite;
  }

  models(): readonly string[] {
    const remote = this.#hosts().flatMap((peer) => peer.models);
    return [...new Set([...this.#need().engines.models(), ...remote])].toSorted();
  }

  call(request: HttpRequest, signal: Signal): Promise<HttpResponse> {
    return this.#need().calls.call(request, signal);
  }

  explain(what: string, signal: Signal): Promise<ExplainReport | undefined> {
    return this.#need().trust.explain(what, signal);
  }

  verdict(host: EndpointId): readonly FactorRow[] {
    return this.#need().trust.verdict(host);
  }

  /** Members that offer models, and may. */
  #hosts(): readonly Peer[] {
    return this.#need().mesh.peers.filter((peer) => this.#isHost(peer));
  }

  /** Whether one of them has the model: asked for each request, in a mesh of hundreds. */
  #isOffered(model: string): boolean {
    return this.#need().mesh.peers.some((peer) => peer.models.includes(model) && this.#isHost(peer));
  }

  #isHost({ id, role }: Peer): boolean {
    return role === "host" && this.#roles.mayAnswer(id);
  }

  #judged({ trust }: Parts): ReturnType<NonNullable<Gauges["hosts"]>> {
    return this.#hosts().map(({ id }) => {
      const decision = trust.decision(id);
      const { tier } = decision.kind === "allow" ? decision.route.proof : knownProof(trust.proofs.of(id));
      return { decision: decision.kind, tier };
    });
  }

  status(): Status {
    const { endpointId, apiUrl, engines, mesh, records, attester, trust, measurements, ownership, admission, joining } =
      this.#need();
    const { mode, name, route, relayTraffic } = this.#config;
    const { load } = this.#need().asking;
    const hosted = engines.models();
    const serving = hosted.length > 0 ? "serving" : engines.loading ? "loading" : "standby";
    const state = mode === "client" ? "client" : serving;
    const engineStates = engines.status();
    return {
      version,
      node_id: endpointId.slice(0, 10),
      endpoint_id: endpointId,
      pid: process.pid,
      token: null,
      mesh: admission.status(),
      name: name ?? null,
      mode,
      node_state: state,
      node_status: `${state.charAt(0).toUpperCase()}${state.slice(1)}`,
      owner: ownerReport(ownership.own),
      trust_policy: ownership.policy,
      is_host: hosted.length > 0,
      is_client: mode === "client",
      api_port: portOf(apiUrl) ?? null,
      llama_ready: engineStates.some(({ kind, state: engine }) => kind === "embedded" && engine === "up"),
      model_name: hosted[0] ?? "",
      hosted_models: hosted,
      serving_models: hosted,
      available_models: [],
      requested_models: [],
      models: this.models(),
      inference_key: keyFingerprint(records.key.publicKey),
      route,
      relays_for_others: relayTraffic,
      plain_allowed: trust.policy.plain,
      policy: policyStatus(trust.policy),
      builds: trust.buildLists,
      engines: engineStates,
      inflight_requests: this.#exchanges,
      posture: postureDocument(this.#posture()),
      hardening: hardeningStatus(this.#hardening(), engines.seen()),
      evidence: attester.states.map(evidenceStatus),
      admission: admissionStatus({
        ...engines.load(),
        maxRunning: this.#config.maxRunning,
        maxQueued: this.#config.maxQueued,
      }),
      measurement: measurements.status(),
      exchanges: exchangesStatus(this.#reports),
      nostr_discovery: (this.#config.finding?.nostrRelays.length ?? 0) > 0,
      publication_state: joining.publication,
      mesh_name: this.#config.finding?.name ?? null,
      relayed: this.#relaying.status(),
      peers: mesh.peers.map((peer) =>
        peerStatus({
          peer,
          key: mesh.keyStanding(peer.id),
          connected: mesh.isConnected(peer.id),
          rttMs: mesh.rttMs(peer.id),
          path: mesh.pathTo(peer.id),
          relays: relaysNaming(mesh, peer.id, { load, nowMs: this.#clock.now(), roles: this.#roles }),
          mayCarry: this.#roles.mayCarry(peer.id),
          running: load.of(peer.id),
          route,
          proof: trust.proofs.of(peer.id),
          decision: trust.decision(peer.id),
          posture: trust.posture(peer.id),
          owner: ownership.judge(peer.id, peer.ownership),
          build: trust.build(peer.id),
        }),
      ),
    };
  }

  stop(drainMs: number = defaults.drainMs): Promise<void> {
    this.#stopping.abort(new MeshError("E_DRAINING", "this node is stopping"));
    this.#drainUntilMs = Math.min(this.#drainUntilMs, this.#clock.now() + drainMs);
    this.#ended ??= this.#end();
    return this.#ended;
  }

  // ---- building

  /** On the port of the last start, where none was asked for: what peers and invites know of our address stays true. */
  async #openTransport(secretKey: Uint8Array, { udpPort }: State): Promise<Transport> {
    const { mode, direct } = this.#config;
    const kind = this.#options.transport ?? transports.find(({ kind }) => kind === (direct ? "direct-tls" : "iroh"));
    if (!kind) throw new MeshError("E_BUG", "no transport is registered");
    const { bind, advertise, irohRelays, tap } = this.#config;
    // who only asks dials hosts and relays, and needs no port for them
    const started = { secretKey, alpns, advertise, irohRelays, offersDirect: mode !== "client" };
    const transport = await reopened(bind, udpPort.read(), (socket) => kind.start({ ...started, bind: socket }));
    // what is advertised is a router's port, not ours
    const port = advertise.length > 0 ? undefined : portAt(bind, transport.address());
    if (port !== undefined) udpPort.write(port);
    return tap === undefined ? transport : tapTransport(transport, fileTap(tap));
  }

  /** @throws E_STATE, E_CONFIG */
  #openOwnership({ directory }: State, id: EndpointId): Ownership {
    const { name: label, owner: settings } = this.#config;
    return new Ownership({ id, settings, directory, clock: this.#clock, log: this.#log, label });
  }

  /** @throws E_STATE, E_CONFIG */
  async #openBuildLists({ directory }: State): Promise<BuildLists | undefined> {
    const settings = this.#config.policy.builds;
    if (!settings) return undefined;
    const lists = new BuildLists({
      trust: await listTrust(settings),
      sources: settings.sources ?? [],
      path: join(directory, "builds.json"),
      clock: this.#clock,
      log: this.#log,
      // what came in gossip the mesh tells on by itself
      onNews: (origin) => {
        if (origin !== "gossip") this.#parts?.mesh.announce();
        this.#tellChange();
      },
    });
    this.#closers.push(() => lists.close());
    const what = "the first lists of builds";
    await withDeadline(lists.start(), { what, ms: defaults.firstBuildListsMs }).catch(() => undefined);
    return lists;
  }

  #openMesh(parts: MeshParts): Mesh {
    const { transport, state, records, engines, answering, attester, builds, ownership, admission, apiUrl } = parts;
    const { mode, name, relayTraffic, route } = this.#config;
    const describe = (): SelfDescription => ({
      role: this.#role(engines),
      models: this.#offered(engines),
      runtimes: this.#offered(engines).length > 0 ? engines.runtimes() : [],
      httpPort: portOf(apiUrl) ?? 0,
      hostname: name,
      version: announcedVersion,
      record: records.current,
      blob: attester.blob,
      buildLists: builds?.newest ?? [],
      ownership: ownership.claim,
      meshId: admission.meshId,
    });
    const { attestAnswering, attestRelayed, attestCarrying, attestTiming } = defaults;
    const attesting = attestHandlers({
      self: answering.identity.id,
      keys: () => answering.keys.opening,
      source: attester,
      ...(relayTraffic ? { reach: this.#relaying.reach } : {}),
      answering: attestAnswering,
      relayed: attestRelayed,
      carrying: attestCarrying,
      timing: attestTiming,
    });
    const answerFrom =
      (arrival: (from: EndpointId) => Arrival): StreamHandler =>
      async (stream, reader, from) => {
        const started = performance.now();
        const end = this.#count();
        try {
          const { asker, whole } = await answer(stream, reader, arrival(from), answering);
          const ms = Math.round(performance.now() - started);
          this.#metrics.observeAnswered(whole);
          this.#log.write("info", { event: "exchange-answered", peer: asker, whole, ms });
        } catch (thrown) {
          this.#log.write("info", { event: "exchange-refused", peer: from, code: toMeshError(thrown).code });
        } finally {
          end();
        }
      };
    const answerRelayed = answerFrom((relay) => ({ kind: "relayed", relay }));
    const answerCarried: StreamHandler = (stream, reader, from) => {
      if (!this.#roles.mayCarry(from)) throw new MeshError("E_REFUSED", "it was not admitted to carry");
      return answerRelayed(stream, reader, from);
    };
    const answersNobody: StreamHandler = () =>
      Promise.reject(new MeshError("E_REFUSED", "a relay carries, and answers nobody"));
    return new Mesh({
      transport,
      clock: this.#clock,
      log: this.#log,
      describe,
      shown: state.shown,
      onShown: (shown) => this.#orGoOn(() => state.rememberShown(shown)),
      gate: ownership.gate(admission.gate()),
      onMeshId: (id) => admission.adoptId(id),
      known: decodeKnownMembers(state.knownMembers.read() ?? ""),
      onKnown: (known) => this.#orGoOn(() => state.knownMembers.write(encodeKnownMembers(known))),
      onChange: () => this.#tellChange(),
      ...(builds ? { onBuildLists: (lists, from) => builds.hear(lists, from) } : {}),
      meetMentioned: route !== "relay",
      handlers: {
        http: mode === "relay" ? answersNobody : answerFrom((peer) => ({ kind: "direct", peer })),
        relayed: mode === "relay" ? answersNobody : answerCarried,
        ...attesting,
        admission: admission.answer,
        ...(relayTraffic ? { relay: this.#relaying.stream } : {}),
      },
    });
  }

  /** A node that is stopping offers nothing any more. */
  #offered(engines: Engines): readonly string[] {
    return this.#stopping.signal.aborted ? [] : engines.models();
  }

  #role(engines: Engines): Role {
    return this.#config.mode === "client" ? "client" : this.#offered(engines).length > 0 ? "host" : "worker";
  }

  #openTelemetry(self: EndpointId): void {
    const { telemetry: settings } = this.#config;
    if (!settings) return;
    const telemetry = new Telemetry({ ...settings, version, self, log: this.#log });
    this.#telemetry = telemetry;
    this.#closers.push(() => telemetry.close());
  }

  /** Hashes what runs, beside the rest of the start. */
  #measure(state: State): Measurements {
    const measurements = new Measurements({
      models: this.#config.engines.flatMap((engine) => (engine.kind === "llama" ? [engine.modelPath] : [])),
      cache: state.measured,
      engineFolder: engineFolder(this.#config.dataDir),
      log: this.#log,
      lookMs: defaults.measureLookMs,
    });
    this.#closers.push(() => measurements.close());
    const measured = (this.#options.measurement ?? measurements.first).then((digests) => {
      if (!digests) return;
      this.#measurement = digests;
      this.#changed();
    });
    measured.catch(() => undefined);
    return measurements;
  }

  #collectors(state: State): readonly Collector[] {
    const { tpm, tpmCertificates, software } = this.#config.attest;
    const settings: CollectorSettings = {
      ...(tpm === undefined ? {} : { tpm, tpmIntermediates: tpmCertificates }),
      enclaveKey: state.enclaveKey,
      software,
    };
    const kinds = this.#options.collectors ?? collectorKinds;
    return kinds.filter((kind) => kind.wanted(settings)).map((kind) => kind.create(settings));
  }

  /** What `sealmesh trust forget` has recorded beside us. */
  #forget(state: State, mesh: Mesh, trust: Trust): void {
    this.#orGoOn(() => {
      for (const id of state.takeForgotten()) {
        mesh.forget(id);
        trust.proofs.forget(id);
      }
    });
  }

  /** Text of an invite to this mesh. Who joins by it demands what we were told to demand. */
  #token(mesh: Pick<InviteExtra, "granted" | "name">): string {
    const { transport, admission } = this.#need();
    const policy = strictest([this.#config.invitePolicy, admission.minimum]);
    return encodeInvite(transport.address(), { ...mesh, policy });
  }

  /** Why a peer may not ask this host, or undefined: members may, but for those that were admitted to carry alone. */
  #mayNotAsk(
    asker: EndpointId,
    credential: Uint8Array | undefined,
    admission: Admission,
    ownership: Ownership,
  ): string | undefined {
    const { mesh } = this.#need();
    const refusal = ownership.judge(asker, mesh.peer(asker)?.ownership).refusal;
    if (refusal !== undefined) return refusal;
    const admittance = credential === undefined ? undefined : admission.judge(asker, credential);
    if (admittance?.kind === "refused") return admittance.why;
    const role = admittance?.role ?? mesh.roleOf(asker) ?? (admission.mode === "open" ? "host" : undefined);
    if (role === undefined) return "it is no member of this mesh";
    return role === "relay" ? "it was admitted as a relay, which asks nobody" : undefined;
  }

  /** Who may join is said once, in the words that fit. */
  #sayOpen({ meshId = "" }: Admission): void {
    const found = this.#config.finding;
    this.#log.write("warn", found ? { event: "mesh-findable", mesh: meshId } : { event: "mesh-open" });
  }

  /** What others have taken back of their invites. */
  #keep(admission: Admission): void {
    this.#orGoOn(() => admission.keep());
  }

  // ---- running

  #need(): Parts {
    if (this.#parts) return this.#parts;
    throw new MeshError("E_NO_HOST", "this node is still starting", { retryAfterSeconds: 1 });
  }

  /** Of now, more or less: keys are locked in memory once there are some, and debuggers come. */
  #hardening(): HardeningReport | undefined {
    const { hardening } = this.#options;
    if (hardening === undefined) return undefined;
    const now = performance.now();
    if (now - this.#looked.atMs >= defaults.postureLookMs) this.#looked = { atMs: now, report: lookAgain(hardening) };
    return this.#looked.report;
  }

  /** Of now: engines come and go. */
  #posture(): Posture {
    return postureOf({
      hardening: this.#hardening(),
      engines: this.#engines?.seen() ?? [],
      measurement: this.#measurement,
    });
  }

  #begin(): () => void {
    if (this.#stopping.signal.aborted) throw new MeshError("E_DRAINING", "this node is stopping");
    return this.#count();
  }

  #count(): () => void {
    this.#exchanges += 1;
    this.#events.changed();
    return () => {
      this.#exchanges -= 1;
      this.#events.changed();
    };
  }

  #changed(): void {
    if (this.#parts) {
      this.#advanceRecord();
      this.#parts.mesh.announce();
    }
    this.#tellChange();
  }

  /** For those who watch the node. */
  #tellChange(): void {
    this.#events.changed();
    this.#options.onChange?.();
  }

  #every(ms: number, run: () => void): void {
    const timer = setInterval(run, ms);
    this.#closers.push(() => clearInterval(timer));
  }

  /** @returns whether there is a new one */
  #advanceRecord(): boolean {
    const { records, keys, attester } = this.#need();
    try {
      const change = records.advance();
      if (change === "rotated") {
        this.#log.write("info", { event: "key-rotated", fingerprint: keyFingerprint(records.key.publicKey) });
      }
      // the next key is published as soon as there is evidence for it
      if (!equal(keys.current.publicKey, records.key.publicKey)) void attester.prepare(keys.current.publicKey);
      return change !== undefined;
    } catch (thrown) {
      this.#notKept(thrown); // the old record holds for an hour
      return false;
    }
  }

  /** Work on our directory. A full disk must not end what runs. */
  #orGoOn(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      this.#notKept(thrown);
    }
  }

  #notKept(thrown: unknown): void {
    const { code, message } = toMeshError(thrown);
    this.#log.write("error", { event: "state-not-kept", code, what: message });
  }

  #asked(report: ExchangeReport, error: MeshError | undefined, traceparent: unknown): void {
    this.#reports.add(report);
    this.#events.exchange(report);
    this.#metrics.observe(report);
    this.#telemetry?.observe(report, traceparent);
    this.#options.onAsked?.(report);
    const { id, model, status, host, sealed, route, attempts, ms } = report;
    this.#log.write(error && error.code !== "E_ABORTED" ? "warn" : "info", {
      event: "exchange-asked",
      id,
      model,
      status,
      ...(host === null ? {} : { host }),
      sealed: sealed ?? "none",
      route: route ?? "none",
      attempts: attempts.length,
      ms,
      ...(error ? { code: error.code } : {}),
    });
  }

  // ---- ending

  async #end(): Promise<void> {
    this.#parts?.engines.refuseWaiting(new MeshError("E_DRAINING", "this host is stopping"));
    this.#changed();
    if (this.#exchanges > 0) this.#log.write("info", { event: "node-draining", exchanges: this.#exchanges });
    while (this.#exchanges > 0 && this.#clock.now() < this.#drainUntilMs) await sleep(50);
    this.#parts?.calls.close(); // while it can still be said why
    for (const close of this.#closers.toReversed()) await close();
    if (this.#parts) this.#log.write("info", { event: "node-stopped" });
  }
}

/** What exists once the node has been built. */
interface MeshParts {
  readonly transport: Transport;
  readonly state: State;
  readonly records: RecordKeeper;
  readonly engines: Engines;
  readonly answering: AnswerParts;
  readonly attester: Attester;
  readonly builds: BuildLists | undefined;
  readonly ownership: Ownership;
  readonly admission: Admission;
  readonly apiUrl: string | undefined;
}

interface Parts {
  readonly endpointId: EndpointId;
  readonly apiUrl: string | undefined;
  readonly consoleUrl: string | undefined;
  readonly transport: Transport;
  readonly keys: InferenceKeys;
  readonly records: RecordKeeper;
  readonly engines: Engines;
  readonly mesh: Mesh;
  readonly attester: Attester;
  readonly measurements: Measurements;
  readonly trust: Trust;
  readonly pinning: Pinning;
  readonly ownership: Ownership;
  readonly asking: AskParts;
  readonly routing: RoutingParts;
  readonly admission: Admission;
  readonly joining: Joining;
  readonly calls: LocalCalls;
}

/** @param last port of an earlier start; undefined: there was none · @throws as `open` */
async function reopened(
  bind: string,
  last: number | undefined,
  open: (socket: string) => Promise<Transport>,
): Promise<Transport> {
  if (last !== undefined && bind.endsWith(":0")) {
    try {
      return await open(`${bind.slice(0, -1)}${last}`);
    } catch (thrown) {
      if (toMeshError(thrown).code !== "E_PORT") throw thrown; // taken by now: any other will do
    }
  }
  return await open(bind);
}

/** The port of our UDP socket, as others see it; undefined: it is not told. */
function portAt(bind: string, { direct }: EndpointAddress): number | undefined {
  const isV6 = bind.startsWith("[");
  return parseSocketAddress(direct.find((socket) => socket.startsWith("[") === isV6) ?? "")?.port;
}

function portOf(url: string | undefined): number | undefined {
  return url === undefined ? undefined : Number(new URL(url).port);
}
/** Until there is a token, nobody has it. */
const closedSession: Session = { allows: () => false, close: () => undefined };

function listen(server: Server, address: HostPort, scheme: "http" | "https", flag: string): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const where = `${address.host}:${address.port}`;
      if (cause.code === "EADDRINUSE") {
        return reject(new MeshError("E_PORT", `${flag}: another program listens on ${where} already`, { cause }));
      }
      reject(
        new MeshError("E_CONFIG", `${flag}: cannot listen on ${where} (${cause.code ?? cause.message})`, { cause }),
      );
    });
    server.listen(address.port, address.host, () => {
      const { port } = server.address() as AddressInfo;
      const host = { "0.0.0.0": "127.0.0.1", "::": "::1" }[address.host] ?? address.host; // something to connect to
      resolve(`${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`);
    });
  });
}

/** What is left after this time, ms, is in the midst of a TLS handshake, and ends by itself. */
const closeMs = 1_000;

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, closeMs);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeAllConnections();
  });
}
