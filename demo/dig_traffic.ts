/**
 * dig, a program that knows nothing of any proxy, asking a resolver on the internet.
 *
 * @module
 */
import { ADDRESSES, NAMES, PORTS } from "./stage.ts";
import { endpointText, reported, type Traffic } from "./traffic.ts";

const NAME = "demo.example";
const REPORT_TIMEOUT_MS = 2_000;

/** Asks for an address of the family that it asks over. */
export const DIG: Traffic = {
  name: "dig",
  protocol: "udp",
  port: PORTS.dns,
  end: "shutdown",
  async make(stage, family) {
    const localPort = stage.takeLocalPort();
    const type = family === "v4" ? "A" : "AAAA";
    const { code, stdout } = await stage.client.run([
      // -r: whatever the user's .digrc says.
      ...["dig", "-r", "-b", `${ADDRESSES.client[family]}#${localPort}`, `@${ADDRESSES.internet[family]}`],
      ...["-p", `${PORTS.dns}`, NAME, type, "+qr", "+tries=1", "+time=2"],
    ]);
    const served = await reported(stage.programs.dns.received(REPORT_TIMEOUT_MS));
    const { answer, ...figures } = parseDig(stdout);
    return {
      client: endpointText(ADDRESSES.client[family], localPort),
      peer: served?.from,
      ...figures,
      datagrams: { up: figures.bytesUp > 0 ? 1 : 0, down: figures.bytesDown > 0 ? 1 : 0 },
      checksums: [],
      heard: answer,
      problems: digProblems(code, answer, `${NAME}. ${type} ${NAMES[family]}`),
    };
  },
};

/** What dig printed of its query and of the answer; zero bytes of what it has not seen. */
export function parseDig(
  stdout: string,
): { bytesUp: number; bytesDown: number; durationMs: number; answer: string | undefined } {
  const number = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1] ?? 0);
  // The name, how long it may be remembered, its class and its type.
  const [, name, type, value] = /^([^;\s]\S*)\s+\d+\s+IN\s+(\S+)\s+(\S+)$/m.exec(stdout) ?? [];
  return {
    bytesUp: number(/^;; QUERY SIZE: (\d+)$/m),
    bytesDown: number(/^;; MSG SIZE {2}rcvd: (\d+)$/m),
    durationMs: number(/^;; Query time: (\d+) msec$/m),
    answer: name === undefined ? undefined : `${name} ${type} ${value}`,
  };
}

/** What is wrong with what dig was told. */
export function digProblems(code: number, answer: string | undefined, wanted: string): string[] {
  if (answer === wanted && code === 0) return [];
  return [`client: dig exit code ${code} and ${answer ?? "no answer"} found, ${wanted} wanted`];
}
