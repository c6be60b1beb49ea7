/**
 * The self-test: our own proxy takes one TCP connection and one datagram, in namespaces made with this host's tools
 * and kernel. What client, server and proxy say of each is compared, as in the demo.
 *
 * @module
 */
import { StartError } from "../control/mod.ts";
import { judge, type Observation } from "../demo/judge.ts";
import { ourselves } from "../demo/ourselves.ts";
import { ProxyFailedError, ShownProxy } from "../demo/proxy.ts";
import {
  ClientRun,
  DatagramClient,
  DatagramServer,
  type DatagramServerSpec,
  GATEWAY_LAB,
  gatewayLab,
  type Lab,
  LabServer,
  LabUnavailableError,
  type ServerSpec,
  within,
} from "../tests/lab/mod.ts";
import { type Finding, finding, fine } from "./findings.ts";
import type { Subject } from "./subject.ts";

/** In all. */
const TIME_LIMIT_MS = 25_000;
const ANSWER_TIMEOUT_MS = 3_000;
const ECHO_PORT = 7;
/** Of the client, for its datagram. */
const CLIENT_PORT = 40_001;
const BYTES = 1_000;
const SERVER = GATEWAY_LAB.servers.v4;

/** Runs it. A failure is a finding, whatever its kind. */
export async function tryInterception(subject: Subject): Promise<Finding[]> {
  let lab: Lab;
  try {
    lab = await gatewayLab();
  } catch (error) {
    if (!(error instanceof LabUnavailableError)) throw error;
    return [finding("warning", "self-test.stage", {
      found: `network namespaces cannot be made here: ${error.detail}`,
      breaks: "nothing but this test, which was not made",
      mend: error.findings.join("; "),
    })];
  }
  await using _stage = lab;
  try {
    return await within(interceptBoth(lab, subject), TIME_LIMIT_MS, "self-test");
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const isProxy = error instanceof ProxyFailedError || error instanceof StartError;
    return [failed("run", `${isProxy ? "the proxy did not start" : "it broke off"}: ${error.message}`)];
  }
}

function failed(what: string, found: string): Finding {
  return finding("error", `self-test.${what}`, {
    found,
    breaks: "interception on this host, also where nothing else of it is in the way",
    mend: "pellucid demo",
  });
}

/** The user's ways of interception, on the lab's gateway. */
function flagsOf({ config }: Subject): string[] {
  // A sidecar takes TCP by redirect; its own ways are the same rules in another place.
  const tcp = config.sidecar === null ? config.tcp : "redirect";
  const flags = [
    "--from",
    "lan0",
    "--tcp",
    tcp,
    "--udp",
    config.udp,
    "--workers",
    "1",
    "--source",
    config.source,
  ];
  return config.rules === "none" ? flags : [...flags, "--rules", config.rules];
}

async function interceptBoth(lab: Lab, subject: Subject): Promise<Finding[]> {
  const { sidecar, tcp, udp } = subject.config;
  const [server, datagramServer, proxy] = await Promise.all([
    serve(lab, { kind: "echo", port: ECHO_PORT }),
    serveDatagrams(lab, { kind: "echo", port: ECHO_PORT }),
    ShownProxy.start(lab.host("gateway"), flagsOf(subject)),
  ]);
  await using _running = proxy;
  const keeps = subject.config.source === "keep" ? "keeps-address" as const : "own-address" as const;
  const findings: Finding[] = [];
  if (tcp !== "off" || sidecar !== null) {
    const seen = await connect(lab, server, proxy);
    findings.push(verdict("tcp", seen, judge(seen, { proxy: keeps, end: "closed" }), proxy));
  }
  const exchanged = udp === "off" ? undefined : await exchange(lab, datagramServer);
  const stopping = await proxy.stop();
  if (exchanged !== undefined) {
    const seen: Observation = { ...exchanged, flow: proxy.datagramFlowOf(exchanged.ends.client) };
    findings.push(verdict("udp", seen, judge(seen, { proxy: keeps, end: "shutdown" }), proxy));
  }
  findings.push(
    stopping.length === 0
      ? fine("self-test.stop", "the proxy stopped as told")
      : failed("stop", stopping.join("; ")),
  );
  return findings;
}

function verdict(
  what: "tcp" | "udp",
  seen: Observation,
  wrong: readonly string[],
  proxy: ShownProxy,
): Finding {
  const kind = what === "tcp" ? "connection" : "datagram";
  if (wrong.length > 0) {
    return failed(
      what,
      [`one ${kind} was not taken as it should be`, ...wrong, ...proxy.complaints()].join("; "),
    );
  }
  return fine(
    `self-test.${what}`,
    `one ${kind} to ${seen.dialled} was taken; the server saw ${seen.ends.peer}`,
  );
}

async function connect(lab: Lab, server: LabServer, proxy: ShownProxy): Promise<Observation> {
  const startedAt = performance.now();
  const mark = proxy.mark();
  await using run = new ClientRun(lab.host("client").spawn(ourselves("demo", "peer", "client")), [{
    address: SERVER,
    port: ECHO_PORT,
    steps: [{ do: "send", bytes: BYTES }, { do: "half-close" }, { do: "await-end" }],
    timeoutMs: ANSWER_TIMEOUT_MS,
  }]);
  const [result] = await run.results();
  const isConnected = result!.outcome === "connected";
  const opened = isConnected ? await orUndefined(server.nextOpened(ANSWER_TIMEOUT_MS)) : undefined;
  return {
    protocol: "tcp",
    dialled: `${SERVER}:${ECHO_PORT}`,
    ends: {
      client: result!.local,
      peer: opened?.peer,
      bytesUp: BYTES,
      bytesDown: result!.received ?? 0,
      durationMs: performance.now() - startedAt,
      checksums: [],
      problems: isConnected ? [] : [`client: ${result!.outcome} found, a connection wanted`],
    },
    flow: isConnected ? await proxy.flowAfter(mark) : undefined,
  };
}

async function exchange(lab: Lab, server: DatagramServer): Promise<Omit<Observation, "flow">> {
  const startedAt = performance.now();
  const client = `${GATEWAY_LAB.client.v4}:${CLIENT_PORT}`;
  const dialled = `${SERVER}:${ECHO_PORT}`;
  await using datagrams = new DatagramClient(
    lab.host("client"),
    ourselves("demo", "peer", "datagram-client"),
  );
  const socket = await datagrams.open({ from: client });
  await socket.send({ to: dialled, bytes: BYTES });
  const answer = await orUndefined(socket.received(ANSWER_TIMEOUT_MS));
  const served = await orUndefined(server.received(ANSWER_TIMEOUT_MS));
  const problems = answer === undefined
    ? ["client: no answer found, one wanted"]
    : answer.from === dialled
    ? []
    : [`client: an answer from ${answer.from} found, one from ${dialled} wanted`];
  return {
    protocol: "udp",
    dialled,
    ends: {
      client,
      peer: served?.from,
      bytesUp: BYTES,
      bytesDown: answer?.bytes ?? 0,
      datagrams: { up: 1, down: answer === undefined ? 0 : 1 },
      durationMs: performance.now() - startedAt,
      checksums: [],
      problems,
    },
  };
}

/** What does not come in time is missing in the comparison, which says more. */
async function orUndefined<T>(report: Promise<T>): Promise<T | undefined> {
  try {
    return await report;
  } catch {
    return undefined;
  }
}

function serve(lab: Lab, spec: ServerSpec): Promise<LabServer> {
  return LabServer.start(
    lab.host("internet").spawn(ourselves("demo", "peer", "server", JSON.stringify(spec))),
    spec,
  );
}

function serveDatagrams(lab: Lab, spec: DatagramServerSpec): Promise<DatagramServer> {
  return DatagramServer.start(lab.host("internet"), spec, ourselves("demo", "peer", "datagram-server"));
}
