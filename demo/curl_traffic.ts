/**
 * curl, a program that knows nothing of any proxy: downloading, and dialling a port that nobody listens on.
 *
 * @module
 */
import { seededSha256 } from "../tests/lab/mod.ts";
import { ADDRESSES, PORTS } from "./stage.ts";
import { endpointText, reported, type Traffic } from "./traffic.ts";

const DOWNLOAD_BYTES = 20_000_000;
const REPORT_TIMEOUT_MS = 2_000;
/** A refusal that takes longer than this was not passed on, but guessed from silence. */
const REFUSAL_LIMIT_MS = 1_000;

/** -q and --noproxy: whatever the user's .curlrc and environment say, this curl dials directly. */
const CURL = ["curl", "-q", "-g", "-sS", "--noproxy", "*"];

/** Downloads over HTTP. */
export const DOWNLOAD: Traffic = {
  name: "curl",
  protocol: "tcp",
  port: PORTS.http,
  end: "closed",
  async make(stage, family) {
    const url = `http://${endpointText(ADDRESSES.internet[family], PORTS.http)}/bytes/${DOWNLOAD_BYTES}`;
    const format =
      "%{stderr}%{local_ip} %{local_port} %{size_request} %{size_header} %{size_download} %{time_total}\\n";
    const curl = [...CURL, "--max-time", "10", "-w", format, url];
    const { stdout, stderr } = await stage.client.run(
      ["sh", "-c", '"$@" | sha256sum', "sh", ...curl],
      { timeoutMs: 12_000 },
    );
    const request = await reported(stage.programs.http.nextRequest(REPORT_TIMEOUT_MS));
    const figures = parseFigures(stderr);
    return {
      client: figures?.client,
      peer: request?.peer,
      bytesUp: figures?.bytesUp ?? 0,
      bytesDown: figures?.bytesDown ?? 0,
      durationMs: figures?.durationMs ?? 0,
      checksums: [{
        receiver: "client",
        found: stdout.split(" ", 1)[0]!,
        wanted: downloadSha256(),
      }],
      problems: curlComplaints(stderr),
    };
  },
};

/** Dials a port on which nobody listens: the client has to be told so, and at once. */
export const REFUSED: Traffic = {
  name: "refused",
  protocol: "tcp",
  port: PORTS.nobody,
  end: "refused",
  async make(stage, family) {
    // Chosen here, because the connection may be over before curl could ask for its port.
    const localPort = stage.takeLocalPort();
    const url = `http://${endpointText(ADDRESSES.internet[family], PORTS.nobody)}/`;
    const { code, stdout, stderr } = await stage.client.run(
      [...CURL, "--max-time", "5", "--local-port", `${localPort}`, "-w", "%{time_total}", url],
      { timeoutMs: 8_000 },
    );
    const durationMs = Number(stdout) * 1000;
    return {
      client: endpointText(ADDRESSES.client[family], localPort),
      peer: undefined,
      bytesUp: 0,
      bytesDown: 0,
      durationMs,
      checksums: [],
      problems: refusalProblems(code, durationMs, stderr),
    };
  },
};

/** What curl's `-w` printed, and undefined when it did not get so far as to have a socket. */
export function parseFigures(
  stderr: string,
): { client: string; bytesUp: number; bytesDown: number; durationMs: number } | undefined {
  const match = /^(\S+) (\d+) (\d+) (\d+) (\d+) (\d+\.\d+)$/m.exec(stderr);
  if (match === null) return undefined;
  const [port, request, header, body, seconds] = match.slice(2).map(Number) as [
    number,
    number,
    number,
    number,
    number,
  ];
  return {
    client: endpointText(match[1]!, port),
    bytesUp: request,
    bytesDown: header + body,
    durationMs: seconds * 1000,
  };
}

/** What is wrong with the way curl was told that nobody listens. */
export function refusalProblems(code: number, durationMs: number, stderr: string): string[] {
  // Not connected; or connected (the proxy had answered already), then a RST while sending or receiving.
  const told = [7, 55, 56].includes(code);
  const problems = told
    ? []
    : [`client: curl exit code ${code} found, a refusal (7) or a reset (55, 56) wanted: ${stderr.trim()}`];
  if (durationMs >= REFUSAL_LIMIT_MS) {
    problems.push(`client: told after ${Math.round(durationMs)} ms, less than ${REFUSAL_LIMIT_MS} wanted`);
  }
  return problems;
}

function curlComplaints(stderr: string): string[] {
  return stderr.split("\n").filter((line) => line.startsWith("curl: ")).map((line) => `client: ${line}`);
}

let expected: string | undefined;

/** The same for every download, and not free to work out. */
function downloadSha256(): string {
  return expected ??= seededSha256(0, DOWNLOAD_BYTES);
}
