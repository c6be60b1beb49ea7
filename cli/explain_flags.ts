/**
 * The arguments of `explain`: the packet, beside the flags that say what is intercepted.
 *
 * @module
 */
import { ConfigError, type ConfigIssue } from "../config/mod.ts";
import { type Endpoint, type IpFamily, parseAddress, parseEndpoint, parseMac } from "../net/mod.ts";
import { type Arriving, FIRST_OF_FLOW, OPEN_FLOW, type Packet, type Sent } from "../nft/packet.ts";
import { choice, type Flag, type FlagValues, toggle, under, Unreadable, whole } from "./flag.ts";
import { checkInterceptionFlags, INTERCEPTION_FLAGS } from "./interception_flags.ts";

/** Every flag of `explain`. */
export const EXPLAIN_FLAGS = {
  ...under("the packet", {
    in: single("IFACE", "an interface such as eth1", "the packet comes in by this interface", asItIs),
    out: single(
      "IFACE",
      "an interface such as eth0",
      "this host sends it, to leave by this interface",
      asItIs,
    ),
    mac: single(
      "MAC",
      "a MAC such as 02:00:5e:10:00:01",
      "of what comes in: the network card it is from",
      parseMac,
    ),
    uid: whole(undefined, "of what is sent: the user whose socket it is", "0"),
    gid: whole(undefined, "of what is sent: the group whose socket it is", "0"),
    cgroup: single("PATH", "a path below the cgroup file system", "of what is sent: its cgroup (v2)", cgroup),
    dscp: whole(0, "the flow's codepoint, which rules of a policy may ask for"),
    mark: single("MARK", "a mark such as 0xca6c", "the packet's mark", parseMark),
    state: choice(
      ["new", "open"],
      "new",
      "a flow's first packet, or a later one of a flow older than the rules",
    ),
    proxy: choice(["up", "down"], "up", "whether a proxy is there"),
  }),
  live: toggle("prove it: send that packet through the rules in a scratch namespace"),
  json: toggle("one JSON object instead of text"),
  ...INTERCEPTION_FLAGS,
};

/** What `explain` is told. */
export type ExplainValues = FlagValues<typeof EXPLAIN_FLAGS>;

/** What makes no sense about the arguments, and then about the flags. */
export function checkExplain(values: ExplainValues, operands: readonly string[]): ConfigIssue[] {
  return [...checkPacket(operands, values), ...checkInterceptionFlags(values), ...checkWay(values)];
}

function checkPacket(operands: readonly string[], values: ExplainValues): readonly ConfigIssue[] {
  try {
    describedPacket(operands, values);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.issues;
    throw error;
  }
}

function checkWay(values: ExplainValues): ConfigIssue[] {
  const issues: ConfigIssue[] = [];
  if ((values.in === undefined) === (values.out === undefined)) {
    issues.push({
      path: "--in, --out",
      found: values.in === undefined ? "none" : "both",
      wanted: "one of them: by which interface the packet comes in, or leaves",
    });
    return issues;
  }
  const [given, wanted] = values.in === undefined ? ["--out", "--in"] : ["--in", "--out"];
  for (const name of given === "--in" ? ["uid", "gid", "cgroup"] as const : ["mac"] as const) {
    if (values[name] === undefined) continue;
    issues.push({ path: `--${name}`, found: `set, and ${given}`, wanted: `${wanted} IFACE with it` });
  }
  for (const name of ["uid", "gid"] as const) {
    const id = values[name] ?? 0;
    if (id > LARGEST_ID) {
      issues.push({ path: `--${name}`, found: `${id}`, wanted: `a whole number from 0 to ${LARGEST_ID}` });
    }
  }
  if (values.dscp > LARGEST_DSCP) {
    issues.push({
      path: "--dscp",
      found: `${values.dscp}`,
      wanted: `a whole number from 0 to ${LARGEST_DSCP}`,
    });
  }
  return issues;
}

/**
 * The packet that `operands` (SRC, DST, protocol) and the flags describe.
 *
 * @throws {ConfigError} when they describe none.
 */
export function describedPacket(operands: readonly string[], values: ExplainValues): Packet {
  const [sourceText = "", destinationText = "", protocolText = ""] = operands;
  const protocol = (["tcp", "udp", "icmp"] as const).find((name) => name === protocolText);
  if (protocol === undefined || operands.length !== 3) {
    throw refused(
      "arguments",
      operands.join(" ") || "nothing",
      "SRC[:PORT] DST:PORT tcp|udp, or SRC DST icmp",
    );
  }
  const hasPorts = protocol !== "icmp";
  const source = endpointOf("SRC", sourceText, hasPorts ? EPHEMERAL_PORT : 0);
  const destination = endpointOf("DST", destinationText, hasPorts ? undefined : 0);
  const { family } = destination.address;
  if (source.address.family !== family) {
    throw refused("SRC, DST", `${sourceText} and ${destinationText}`, "addresses of one family");
  }
  const isNew = values.state === "new";
  return {
    family,
    protocol,
    source: source.address.text,
    sourcePort: source.port,
    destination: destination.address.text,
    destinationPort: destination.port,
    tcpFirst: protocol === "tcp" && isNew,
    dontFragment: isWhole(family, protocol),
    way: wayOf(values),
    mark: values.mark ?? 0,
    flow: isNew ? FIRST_OF_FLOW : OPEN_FLOW,
    socket: null,
  };
}

/** Of 32 bits the largest means "none". */
const LARGEST_ID = 0xffff_fffe;

/** Of six bits (RFC 2474). */
const LARGEST_DSCP = 63;

/** A client's, where none is said: which one matters to no rule but those that name it. */
const EPHEMERAL_PORT = 40_000;

/** As Linux sends it: path MTU discovery is on for TCP, and for UDP that fits. */
function isWhole(family: IpFamily, protocol: Packet["protocol"]): boolean {
  return family === 4 && protocol !== "icmp";
}

function wayOf(values: ExplainValues): Arriving | Sent {
  if (values.in !== undefined) return { kind: "arriving", interface: values.in, mac: values.mac ?? "" };
  const owner = { uid: values.uid ?? 0, gid: values.gid ?? 0, cgroup: values.cgroup ?? "" };
  return { kind: "sent", interface: values.out!, owner };
}

function endpointOf(path: string, text: string, port: number | undefined): Endpoint {
  const address = parseAddress(text);
  if (address !== undefined && port !== undefined) return { address, port };
  const endpoint = parseEndpoint(text);
  if (endpoint === undefined || (port === 0 && endpoint.port !== 0)) {
    const wanted = port === 0 ? "an address" : port === undefined ? "ADDR:PORT" : "ADDR or ADDR:PORT";
    throw refused(path, text, `${wanted}, an IPv6 address with a port in brackets`);
  }
  return endpoint;
}

function refused(path: string, found: string, wanted: string): ConfigError {
  return new ConfigError([{ path, found, wanted }]);
}

/** One value or none. */
function single<T>(
  placeholder: string,
  wanted: string,
  help: string,
  read: (text: string) => T | undefined,
): Flag<T | undefined> {
  return {
    shape: "single",
    placeholder,
    help,
    fallback: undefined,
    fallbackText: "",
    read: ([text]) => read(text!) ?? new Unreadable(text!, wanted),
  };
}

function asItIs(text: string): string {
  return text;
}

function cgroup(text: string): string {
  return text.replace(/^\//, "");
}

function parseMark(text: string): number | undefined {
  if (!/^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(text)) return undefined;
  const mark = Number(text);
  return mark <= 0xffffffff ? mark : undefined;
}
