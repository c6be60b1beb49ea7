/**
 * Where the demo plays: three hosts in network namespaces of their own, and servers on the one that is the internet.
 *
 * @module
 */
import { StartError } from "../control/mod.ts";
import {
  DatagramClient,
  DatagramServer,
  type DatagramServerSpec,
  GATEWAY_LAB,
  gatewayLab,
  type Lab,
  type LabHost,
  LabServer,
  LabUnavailableError,
  type ServerSpec,
} from "../tests/lab/mod.ts";
import { ourselves } from "./ourselves.ts";

/** Ports of the internet host. Nothing listens on `nobody`. */
export const PORTS = {
  http: 80,
  /** TCP and UDP. */
  echo: 7,
  nobody: 9,
  dns: 53,
  game: 7778,
  /** Tells who asks as whom it is seen. */
  mapping: 3478,
  /** From where somebody answers who was not asked. */
  stranger: 4567,
} as const;

/** What the resolver says of every name. */
export const NAMES = { v4: "192.0.2.80", v6: "2001:db8::80" } as const;
/** What the game server says of itself. */
export const GAME: Readonly<Record<string, string>> = {
  hostname: "a game on the internet",
  mapname: "DM-Deck16",
  numplayers: "12",
};

/** The interface of the gateway behind which the client is. */
export const CLIENT_SIDE = "lan0";

/** Every row is for both. */
export const FAMILIES = ["v4", "v6"] as const;
/** Key of an address in {@linkcode ADDRESSES}. */
export type Family = (typeof FAMILIES)[number];

/** Who has which address, by family. */
export const ADDRESSES = {
  client: GATEWAY_LAB.client,
  gateway: GATEWAY_LAB.gateway,
  gatewayOutside: { v4: GATEWAY_LAB.gateway.wanV4, v6: GATEWAY_LAB.gateway.wanV6 },
  /** The gateway has none of these. */
  internet: { v4: GATEWAY_LAB.servers.v4, v6: GATEWAY_LAB.servers.v6 },
  stranger: { v4: GATEWAY_LAB.servers.v4b, v6: GATEWAY_LAB.servers.v6b },
} as const;

/** What the hosts run beside ourselves and the lab's own tools, how to try it, and the Debian package it is in. */
const PROGRAMS: readonly (readonly [program: string, flag: string, debianPackage: string])[] = [
  ["curl", "--version", "curl"],
  ["dig", "-v", "dnsutils"],
  ["nft", "--version", "nftables"],
];

/** The servers on the internet, and the client's sockets for datagrams. */
interface Programs {
  readonly http: LabServer;
  readonly echo: LabServer;
  readonly dns: DatagramServer;
  readonly game: DatagramServer;
  readonly mapping: DatagramServer;
  readonly datagramEcho: DatagramServer;
  readonly datagrams: DatagramClient;
}

/** The hosts and what runs on them for the whole demo. */
export class Stage implements AsyncDisposable {
  readonly #lab: Lab;
  #nextLocalPort = 40_001;

  private constructor(lab: Lab, readonly programs: Programs) {
    this.#lab = lab;
  }

  /** @throws {StartError} when the kernel does not let us, or a program is missing. */
  static async build(): Promise<Stage> {
    const lab = await openLab();
    try {
      await requirePrograms(lab);
      return new Stage(lab, await startPrograms(lab));
    } catch (error) {
      await lab.stop();
      throw error;
    }
  }

  get client(): LabHost {
    return this.#lab.host("client");
  }

  get gateway(): LabHost {
    return this.#lab.host("gateway");
  }

  /** A port for the client to dial from. Never the same twice: conntrack remembers connections for a while. */
  takeLocalPort(): number {
    return this.#nextLocalPort++;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#lab.stop();
  }
}

async function openLab(): Promise<Lab> {
  try {
    return await gatewayLab();
  } catch (error) {
    if (!(error instanceof LabUnavailableError)) throw error;
    throw new StartError(
      "not-permitted",
      `network namespaces: cannot be made here: ${error.detail}`,
      error.findings.join("\n  "),
      { cause: error },
    );
  }
}

async function requirePrograms(lab: Lab): Promise<void> {
  for (const [program, flag, debianPackage] of PROGRAMS) {
    const { code } = await lab.host("client").run([program, flag]);
    if (code === 0) continue;
    throw new StartError(
      "program-missing",
      `${program}: not found in PATH, or does not start`,
      `install it (Debian: apt-get install ${debianPackage}); in the source tree \`./dev demo\` installs ` +
        "all that the demo needs",
    );
  }
}

async function startPrograms(lab: Lab): Promise<Programs> {
  const datagrams = new DatagramClient(lab.host("client"), ourselves("demo", "peer", "datagram-client"));
  const [http, echo, dns, game, mapping, datagramEcho] = await Promise.all([
    serve(lab, { kind: "http", port: PORTS.http }),
    serve(lab, { kind: "echo", port: PORTS.echo }),
    serveDatagrams(lab, { kind: "resolver", names: NAMES, port: PORTS.dns }),
    serveDatagrams(lab, { kind: "game", status: GAME, port: PORTS.game }),
    serveDatagrams(lab, { kind: "mapping", port: PORTS.mapping }),
    serveDatagrams(lab, { kind: "echo", port: PORTS.echo }),
  ]);
  return { http, echo, dns, game, mapping, datagramEcho, datagrams };
}

function serveDatagrams(lab: Lab, spec: DatagramServerSpec): Promise<DatagramServer> {
  return DatagramServer.start(lab.host("internet"), spec, ourselves("demo", "peer", "datagram-server"));
}

function serve(lab: Lab, spec: ServerSpec): Promise<LabServer> {
  const process = lab.host("internet").spawn(ourselves("demo", "peer", "server", JSON.stringify(spec)));
  return LabServer.start(process, spec);
}
