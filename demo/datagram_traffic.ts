/**
 * Datagrams of a client of our own: a query for a game server, an answer from a host that was never written to, and a
 * datagram that no packet holds.
 *
 * @module
 */
import {
  type DatagramSpec,
  type MappingAnswer,
  type MappingRequest,
  parseStatus,
  type ReceivedDatagram,
  seededSha256,
  type ServedDatagram,
  STATUS_REQUEST,
} from "../tests/lab/mod.ts";
import { ADDRESSES, type Family, GAME, PORTS, type Stage } from "./stage.ts";
import { endpointText, type EndsReport, reported, type Traffic } from "./traffic.ts";

const ANSWER_TIMEOUT_MS = 2_000;
const LARGE_BYTES = 9_000;
const SEED = 1;

/** What a player's server browser does. */
export const GAME_QUERY: Traffic = {
  name: "game",
  protocol: "udp",
  port: PORTS.game,
  end: "shutdown",
  async make(stage, family) {
    const to = endpointText(ADDRESSES.internet[family], PORTS.game);
    const { report, answers } = await exchange(stage, family, { to, text: STATUS_REQUEST }, [to]);
    const served = await reported(stage.programs.game.received(ANSWER_TIMEOUT_MS));
    const status = parseStatus(answers[0]?.text ?? "");
    const heard = status &&
      `"${status["hostname"]}", map ${status["mapname"]}, ${status["numplayers"]} players`;
    const isRight = status !== undefined && JSON.stringify(status) === JSON.stringify(GAME);
    const problems = isRight
      ? []
      : [`client: ${answers[0]?.text ?? "no answer"} found, the game's state wanted`];
    return { ...report, peer: served?.from, heard, problems: [...report.problems, ...problems] };
  },
};

/** Full cone, which players know as NAT type "open": whoever knows where the client is mapped may write to it. */
export const CONE: Traffic = {
  name: "cone",
  protocol: "udp",
  port: PORTS.mapping,
  end: "shutdown",
  async make(stage, family) {
    const to = endpointText(ADDRESSES.internet[family], PORTS.mapping);
    const stranger = endpointText(ADDRESSES.stranger[family], PORTS.stranger);
    const request: MappingRequest = { from: [to, stranger] };
    const { report, answers } = await exchange(stage, family, { to, text: JSON.stringify(request) }, [
      to,
      stranger,
    ]);
    const served = await reported(stage.programs.mapping.received(ANSWER_TIMEOUT_MS));
    return {
      ...report,
      peer: served?.from,
      heard: answers[1] && `an answer from ${answers[1].from}, to which the client has never written`,
      problems: [...report.problems, ...answers.flatMap((answer) => mappingProblems(answer, served))],
    };
  },
};

/** A datagram in seven fragments each way. */
export const LARGE: Traffic = {
  name: "9000 B",
  protocol: "udp",
  port: PORTS.echo,
  end: "shutdown",
  async make(stage, family) {
    const to = endpointText(ADDRESSES.internet[family], PORTS.echo);
    const { report, answers } = await exchange(stage, family, { to, bytes: LARGE_BYTES, seed: SEED }, [to]);
    const served = await reported(stage.programs.datagramEcho.received(ANSWER_TIMEOUT_MS));
    const wanted = seededSha256(SEED, LARGE_BYTES);
    return {
      ...report,
      peer: served?.from,
      checksums: [
        { receiver: "server", found: served?.sha256 ?? "", wanted },
        { receiver: "client", found: answers[0]?.sha256 ?? "", wanted },
      ],
    };
  },
};

interface Exchange {
  /** Everything but what the server saw. */
  readonly report: EndsReport;
  readonly answers: readonly ReceivedDatagram[];
}

/** Sends a datagram from a socket of its own and waits for the answers of these, in this order. */
async function exchange(
  stage: Stage,
  family: Family,
  datagram: DatagramSpec,
  answerers: readonly string[],
): Promise<Exchange> {
  const client = endpointText(ADDRESSES.client[family], stage.takeLocalPort());
  const startedAt = performance.now();
  const socket = await stage.programs.datagrams.open({ from: client, discover: "dont" });
  const { errors } = await socket.send(datagram);
  const answers: ReceivedDatagram[] = [];
  const problems = Object.values(errors).map((error) => `client: ${error} found, a datagram sent wanted`);
  for (const answerer of answerers) {
    const answer = await reported(socket.received(ANSWER_TIMEOUT_MS));
    if (answer === undefined) {
      problems.push(`client: no answer found, one from ${answerer} wanted`);
      break;
    }
    answers.push(answer);
    if (answer.from !== answerer) {
      problems.push(`client: an answer from ${answer.from} found, one from ${answerer} wanted`);
    }
  }
  await socket.close();
  const report: EndsReport = {
    client,
    peer: undefined,
    bytesUp: datagram.bytes ?? new TextEncoder().encode(datagram.text).length,
    bytesDown: answers.reduce((sum, { bytes }) => sum + bytes, 0),
    datagrams: { up: 1, down: answers.length },
    durationMs: performance.now() - startedAt,
    checksums: [],
    problems,
  };
  return { report, answers };
}

/** What is wrong with the words of an answer: each has to name the endpoint that the server saw. */
function mappingProblems({ text, from }: ReceivedDatagram, served: ServedDatagram | undefined): string[] {
  const { mapped } = JSON.parse(text ?? "{}") as Partial<MappingAnswer>;
  if (mapped !== undefined && mapped === served?.from) return [];
  return [`client: mapped to ${mapped ?? "nothing"} found in the answer of ${from}, ${served?.from} wanted`];
}
