/**
 * How connections end: whatever one side does, the other side learns it in kind (FIN as FIN, RST as RST), nothing
 * that was sent before is missing, and the flow's record says whose doing it was. In every mode and family.
 */
import { assert, assertEquals } from "../assert.ts";
import {
  type ClientResult,
  type ClientSpec,
  type ClientStep,
  GATEWAY_LAB,
  type LabServer,
  labTest,
  type PeerEnd,
  seededSha256,
  type ServedConnection,
  type ServerBehaviour,
} from "../lab/mod.ts";
import { endpoint, type EventOf, RelaySite, WAYS } from "./relay_site.ts";

const ADDRESSES = [GATEWAY_LAB.servers.v4, GATEWAY_LAB.servers.v6];
/** Large enough that most of it is spliced through pipes. */
const STREAM = 3_000_001;

interface Range {
  readonly from: number;
  readonly to: number;
}

/** One way for a connection to go. */
interface Case {
  readonly name: string;
  readonly server: ServerBehaviour;
  readonly steps: readonly ClientStep[];
  readonly reading?: ClientSpec["reading"];
  readonly clientSees: PeerEnd;
  readonly serverSees: PeerEnd;
  readonly bytesUp: number | Range;
  readonly bytesDown: number | Range;
  readonly end: EventOf<"flow">["end"];
  /** What else may be true for a client, its server and the flow. */
  readonly check?: (client: ClientResult, served: ServedConnection) => void;
}

const SMALL = 1000;

const CASES: readonly Case[] = [
  {
    name: "both close, the client first",
    server: { kind: "echo" },
    steps: [{ do: "send", bytes: STREAM, seed: 3 }, { do: "half-close" }, { do: "await-end" }],
    clientSees: "fin",
    serverSees: "fin",
    bytesUp: STREAM,
    bytesDown: STREAM,
    end: { reason: "closed", side: "client" },
    check: ({ receivedSha256 }) => assertEquals(receivedSha256, seededSha256(3, STREAM)),
  },
  {
    name: "the client half-closes before anything else, and the server sends megabytes after that",
    server: { kind: "source", bytes: STREAM, seed: 5 },
    steps: [{ do: "half-close" }, { do: "await-end" }],
    clientSees: "fin",
    serverSees: "fin",
    bytesUp: 0,
    bytesDown: STREAM,
    end: { reason: "closed", side: "client" },
    check: ({ receivedSha256 }) => assertEquals(receivedSha256, seededSha256(5, STREAM)),
  },
  {
    name: "the server half-closes before anything else, and the client sends megabytes after that",
    server: { kind: "half-close" },
    steps: [{ do: "await-end" }, { do: "send", bytes: STREAM, seed: 6 }, { do: "half-close" }],
    clientSees: "fin",
    serverSees: "fin",
    bytesUp: STREAM,
    bytesDown: 0,
    end: { reason: "closed", side: "upstream" },
    check: (_, { receivedSha256, receivedAfterFin }) =>
      assertEquals([receivedSha256, receivedAfterFin], [seededSha256(6, STREAM), STREAM]),
  },
  ...[SMALL, STREAM].flatMap((bytes): Case[] => [
    {
      name: `the server resets after ${bytes} bytes to it`,
      server: { kind: "reset", afterReceived: bytes },
      steps: [{ do: "send", bytes }, { do: "await-end" }],
      clientSees: "reset",
      serverSees: "open",
      bytesUp: bytes,
      bytesDown: 0,
      end: { reason: "reset", side: "upstream" },
    },
    {
      name: `the server resets after ${bytes} bytes from it`,
      server: { kind: "reset", afterSent: bytes, afterReceived: 1 },
      // The last byte is sent when everything has arrived: nothing is on its way when the reset comes.
      steps: [{ do: "await-bytes", bytes }, { do: "send", bytes: 1 }, { do: "await-end" }],
      clientSees: "reset",
      serverSees: "open",
      bytesUp: 1,
      bytesDown: bytes,
      end: { reason: "reset", side: "upstream" },
      check: ({ receivedSha256 }) => assertEquals(receivedSha256, seededSha256(0, bytes)),
    },
    {
      name: `the client resets after ${bytes} bytes both ways`,
      server: { kind: "echo" },
      steps: [{ do: "send", bytes }, { do: "await-bytes", bytes }, { do: "reset" }],
      clientSees: "open",
      serverSees: "reset",
      bytesUp: bytes,
      bytesDown: bytes,
      end: { reason: "reset", side: "client" },
    },
  ]),
  {
    name: "the server resets while the client is sending",
    server: { kind: "reset", afterReceived: STREAM },
    steps: [{ do: "send", bytes: 20 * STREAM }],
    clientSees: "reset",
    serverSees: "open",
    bytesUp: { from: STREAM, to: 20 * STREAM },
    bytesDown: 0,
    end: { reason: "reset", side: "upstream" },
  },
  {
    name: "the client resets while the server is sending and the client does not read",
    server: { kind: "source", bytes: 20 * STREAM, seed: 1 },
    reading: "on-step",
    // Long enough for all connections at once to be dialled, and for some bytes.
    steps: [{ do: "sleep", ms: 1_500 }, { do: "reset" }],
    clientSees: "open",
    serverSees: "reset",
    bytesUp: 0,
    bytesDown: { from: 1, to: 20 * STREAM },
    end: { reason: "reset", side: "client" },
  },
];

for (const [mode, source] of WAYS) {
  labTest(`ends: ${mode}, source ${source}: each side learns what the other did`, async (context) => {
    await using site = await RelaySite.start({ mode, source });
    const started = await Promise.all(CASES.map(({ server }) => site.internet.serve(server)));
    const plan = CASES.flatMap((wanted, at) =>
      ADDRESSES.map((address) => ({ wanted, address, port: started[at]!.port }))
    );
    const specs = plan.map(({ wanted, address, port }): ClientSpec => {
      return { address, port, steps: wanted.steps, reading: wanted.reading ?? "always" };
    });
    const results = await site.client.startClients(specs).results();
    const served = await servedByDestination(started);
    for (const [at, { wanted, address, port }] of plan.entries()) {
      await context.step(`${wanted.name}: ${address}`, async () => {
        const client = results[at]!;
        assertEquals([client.outcome, client.timedOut, client.end], ["connected", false, wanted.clientSees]);
        // No two clients have one destination. One port they may have: then NAT tells them apart by other ports.
        const destination = endpoint(address, port);
        const flow = await site.proxy.flowTo(destination);
        const isShared = results.filter(({ local }) => local === client.local).length > 1;
        if (mode === "tproxy" || !isShared) assertEquals(flow.client, client.local);
        if (source === "keep") assertEquals(flow.local, flow.client);
        checkFlow(flow, wanted, destination);
        const connection = served.get(destination);
        assert(connection !== undefined, `no server saw ${destination}`);
        assertEquals([connection.peer, connection.end], [flow.local, wanted.serverSees]);
        wanted.check?.(client, connection);
      });
    }
  });
}

/** Every connection of the servers, by what was dialled. */
async function servedByDestination(started: readonly LabServer[]): Promise<Map<string, ServedConnection>> {
  const served = new Map<string, ServedConnection>();
  for (const server of started) {
    for (const _ of ADDRESSES) {
      const connection = await server.nextClosed();
      served.set(connection.local, connection);
    }
  }
  return served;
}

function checkFlow(flow: EventOf<"flow">, wanted: Case, destination: string): void {
  assertEquals([flow.proto, flow.destination, flow.end], ["tcp", destination, wanted.end]);
  assertCount("bytesUp", flow.bytesUp, wanted.bytesUp);
  assertCount("bytesDown", flow.bytesDown, wanted.bytesDown);
}

function assertCount(name: string, found: number, wanted: number | Range): void {
  if (typeof wanted === "number") assertEquals(found, wanted, name);
  else assert(found >= wanted.from && found <= wanted.to, `${name}: ${found} found`);
}
