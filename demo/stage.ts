/**
 * Where the demo plays: three hosts in network namespaces of their own, and servers on the one that is the internet.
 *
 * @module
 */
import { StartError } from "../control/mod.ts";
import {
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
export const PORTS = { http: 80, echo: 7, nobody: 9 } as const;

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
} as const;

/** What the hosts run beside ourselves and the lab's own tools, and the Debian package it is in. */
const PROGRAMS = { curl: "curl", nft: "nftables" } as const;

/** The hosts and what runs on them for the whole demo. */
export class Stage implements AsyncDisposable {
  readonly #lab: Lab;
  #nextLocalPort = 40_001;

  private constructor(lab: Lab, readonly http: LabServer, readonly echo: LabServer) {
    this.#lab = lab;
  }

  /** @throws {StartError} when the kernel does not let us, or a program is missing. */
  static async build(): Promise<Stage> {
    const lab = await openLab();
    try {
      await requirePrograms(lab);
      const [http, echo] = await Promise.all([
        serve(lab, { kind: "http", port: PORTS.http }),
        serve(lab, { kind: "echo", port: PORTS.echo }),
      ]);
      return new Stage(lab, http, echo);
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
  for (const [program, debianPackage] of Object.entries(PROGRAMS)) {
    const { code } = await lab.host("client").run([program, "--version"]);
    if (code === 0) continue;
    throw new StartError(
      "program-missing",
      `${program}: not found in PATH, or does not start`,
      `install it (Debian: apt-get install ${debianPackage}); in the source tree \`./dev demo\` installs ` +
        "all that the demo needs",
    );
  }
}

function serve(lab: Lab, spec: ServerSpec): Promise<LabServer> {
  const process = lab.host("internet").spawn(ourselves("demo", "peer", "server", JSON.stringify(spec)));
  return LabServer.start(process, spec);
}
