/**
 * The relay of a SOCKS5 association (RFC 1928, section 7), for socks_server_main.ts: datagrams of its one client go on to
 * where their headers say, and whatever anybody sends to the sockets that they left by goes back, as behind a full cone.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { addressBytes, addressFromBytes, parseAddress } from "../../net/mod.ts";

const IPV4 = 1, IPV6 = 4;
/** Reserved, fragment, kind of address; and the port behind the address. */
const BEFORE_BYTES = 4, PORT_BYTES = 2;

/** Hears of each datagram on its way out: by whom it comes from, and where it goes. */
type CarryObserver = (client: string, target: string) => void;

/** One association's. */
export class SocksRelay implements Disposable {
  readonly #inward: Socket;
  readonly #outward = new Map<4 | 6, Promise<Socket>>();
  readonly #onCarried: CarryObserver;
  #client: RemoteInfo | undefined;

  private constructor(inward: Socket, onCarried: CarryObserver) {
    this.#inward = inward;
    this.#onCarried = onCarried;
    inward.on("message", (data, from) => this.#send(data, from));
  }

  /** Opens one at an address of this host. */
  static async open(address: string, onCarried: CarryObserver): Promise<SocksRelay> {
    return new SocksRelay(await bound(parseAddress(address)!.family, address), onCarried);
  }

  /** As a reply names it: kind of address, address, port. */
  get name(): number[] {
    const { address, port } = this.#inward.address();
    return encoded(address, port);
  }

  [Symbol.dispose](): void {
    this.#inward.close();
    for (const socket of this.#outward.values()) socket.then((one) => one.close());
  }

  async #send(data: Buffer, from: RemoteInfo): Promise<void> {
    const kind = data[3], bytes = kind === IPV4 ? 4 : kind === IPV6 ? 16 : 0;
    const header = BEFORE_BYTES + bytes + PORT_BYTES;
    // A fragment, a name, or no header at all: what a relay may drop, and this one does.
    if (bytes === 0 || data[2] !== 0 || data.length < header) return;
    this.#client = from;
    const { text, family } = addressFromBytes(data.subarray(BEFORE_BYTES, BEFORE_BYTES + bytes));
    const port = data.readUInt16BE(header - PORT_BYTES);
    this.#onCarried(endpoint(from.address, from.port), endpoint(text, port));
    const opened = this.#outward.get(family) ?? this.#open(family);
    this.#outward.set(family, opened);
    (await opened).send(data.subarray(header), port, text);
  }

  async #open(family: 4 | 6): Promise<Socket> {
    const socket = await bound(family, family === 4 ? "0.0.0.0" : "::");
    socket.on("message", (data, { address, port }) => {
      const { port: to, address: client } = this.#client!;
      this.#inward.send(Buffer.concat([Uint8Array.of(0, 0, 0, ...encoded(address, port)), data]), to, client);
    });
    return socket;
  }
}

async function bound(family: 4 | 6, address: string): Promise<Socket> {
  const socket = createSocket({ type: family === 4 ? "udp4" : "udp6", ipv6Only: family === 6 });
  // What a destination sends back in the place of an answer is not this relay's end.
  socket.on("error", () => {});
  socket.bind(0, address);
  await once(socket, "listening");
  return socket;
}

function encoded(address: string, port: number): number[] {
  const bytes = addressBytes(parseAddress(address)!);
  return [bytes.length === 4 ? IPV4 : IPV6, ...bytes, port >> 8, port & 0xff];
}

function endpoint(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
