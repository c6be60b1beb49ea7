/**
 * Datagrams that are sent all through the death and the restart of a worker.
 */
import { assertEquals, assertGreater } from "../assert.ts";
import { type ClientSocket, DatagramClient, GATEWAY_LAB, gatewayLab, labTest } from "../lab/mod.ts";
import { endpoint, FAMILIES, type Family } from "./datagram_site.ts";
import { ProxyRun } from "./proxy_run.ts";

const { client, gateway } = GATEWAY_LAB;
const THROWING_MAIN = new URL("../fixtures/throwing_main.ts", import.meta.url).href;
/** So many that the hash of client endpoints leaves no worker without one: 2^-15 is the chance of it. */
const MANY = 16;
const ROUND_MS = 10;
/** Of sending, if the worker does not come back. */
const MAX_ROUNDS = 500;

/** A client's socket that sends datagrams which nobody else sends. */
class Sender {
  sent = 0;
  /** Texts that came, in their order. */
  readonly got: string[] = [];

  constructor(
    readonly name: string,
    readonly socket: ClientSocket,
    readonly family: Family,
    readonly to: string,
  ) {}

  async send(text = `${this.name}/${this.sent++}`): Promise<void> {
    await this.socket.send({ to: this.to, text });
  }

  /** Takes what comes up to the answer to a last datagram, each from where it was sent to. */
  async finish(): Promise<void> {
    const last = `${this.name}/last`;
    await this.send(last);
    while (this.got.at(-1) !== last) {
      const { from, text } = await this.socket.received();
      assertEquals(from, this.to, `${text} to ${this.name}`);
      this.got.push(text!);
    }
  }
}

labTest(
  "udp: a worker's outage: nobody gets another's datagram, or one twice, and all of it goes on",
  async () => {
    await using lab = await gatewayLab();
    await using sockets = new DatagramClient(lab.host("client"));
    const echo = await lab.host("internet").serveDatagrams({ kind: "echo" });
    await using proxy = await ProxyRun.start(lab.host("gateway"), ["udp"], { main: THROWING_MAIN });
    const senders: Sender[] = [];
    const open = async (name: string) => {
      const family = FAMILIES[senders.length % 2]!;
      const socket = await sockets.open({ from: endpoint(family.client, 0) });
      const sender = new Sender(name, socket, family, endpoint(family.server, echo.port));
      senders.push(sender);
      return sender;
    };
    const before: Sender[] = [];
    for (let i = 0; i < MANY; i++) {
      before.push(await open(`before ${i}`));
      await before[i]!.send();
      assertEquals((await before[i]!.socket.received()).text, `before ${i}/0`);
    }
    const trigger = await sockets.open({ from: endpoint(client.v4, 0) });

    // One worker, while the other one goes on.
    let isBack = false;
    const back = proxy.event("worker-restarted").then(() => isBack = true);
    await trigger.send({ to: endpoint(gateway.v4, 7870), text: "loop" });
    let rounds = 0;
    for (; !isBack && rounds < MAX_ROUNDS; rounds++) {
      await Promise.all(before.map((sender) => sender.send()));
      if (rounds % 4 === 0) await (await open(`meanwhile ${rounds}`)).send();
      await new Promise((resolve) => setTimeout(resolve, ROUND_MS));
    }
    await back;
    assertGreater(rounds, 2);

    const after: Sender[] = [];
    for (let i = 0; i < MANY; i++) {
      after.push(await open(`after ${i}`));
      await after[i]!.send();
    }
    for (const sender of senders) await sender.finish();
    const served = [];
    for (let i = echo.receivedCount; i > 0; i--) served.push(await echo.received());

    // To whom, and how often.
    for (const { name, got } of senders) {
      assertEquals(got.filter((text) => !text.startsWith(`${name}/`)), []);
      assertEquals(new Set(got).size, got.length, name);
    }
    assertEquals(new Set(served.map(({ text }) => text)).size, served.length);
    // Both those that were open and those that are new are carried again, by this host's address.
    const fromWhom = new Map(served.map(({ text, from }) => [text, from]));
    for (const { name, socket, family } of [...before, ...after]) {
      assertEquals(fromWhom.get(`${name}/last`), endpoint(family.wan, socket.port));
    }
    for (const { name, got } of after) assertEquals(got, [`${name}/0`, `${name}/last`]);

    await proxy.stop();
    const flows = proxy.logged("flow").filter(({ proto }) => proto === "udp");
    const made = (sender: Sender) => flows.filter(({ client }) => client === sender.socket.local).length;
    const spared = before.filter((sender) => made(sender) === 1);
    assertGreater(spared.length, 0);
    assertGreater(before.length, spared.length);
    for (const { name, sent, got } of spared) {
      assertEquals(got, [...Array.from({ length: sent - 1 }, (_, i) => `${name}/${i + 1}`), `${name}/last`]);
    }
    assertEquals(after.map(made), Array(MANY).fill(1));
  },
);
