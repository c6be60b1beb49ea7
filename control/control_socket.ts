/**
 * The running proxy's ear: a Unix socket by which a command of the same user asks for another configuration, and hears
 * what became of it. One line of JSON each way.
 *
 * Who may write to the socket may have the configuration read again, and no more: it says neither which nor what is in
 * it. The file's mode leaves that to the proxy's user.
 *
 * @module
 */
import {
  isSafeFolder,
  isSocketName,
  type SocketFolder,
  socketFolders,
  socketName,
} from "./control_socket_path.ts";
import type { ReloadOutcome } from "./reload.ts";

/** What is asked. */
export interface ControlRequest {
  readonly request: "reload";
}

const MOST_REQUEST_BYTES = 1024;
const REQUEST_TIMEOUT_MS = 5_000;
/** A socket of somebody who is starting refuses connections too, for a moment. */
const STALE_MS = 60_000;
/** Until it is tried again to hear of somebody, who waits, for want of a descriptor. */
const RETRY_MS = 250;
/** A folder may be removed, with the last socket in it, while it is looked at. */
const ATTEMPTS = 3;

/** A socket that listens until it is closed. */
export class ControlSocket implements Disposable {
  readonly path: string;
  readonly #listener: Deno.UnixListener;
  readonly #reload: () => Promise<ReloadOutcome>;
  readonly #folder: SocketFolder;
  #isClosed = false;

  private constructor(path: string, folder: SocketFolder, reload: () => Promise<ReloadOutcome>) {
    this.path = path;
    this.#folder = folder;
    this.#reload = reload;
    this.#listener = Deno.listen({ transport: "unix", path });
    Deno.chmodSync(path, 0o600);
    this.#accept();
  }

  /**
   * Opens it in the first of `folders` where that can be done; what a killed proxy has left there is removed.
   *
   * @param port of the proxy.
   * @throws {Error} with what was in the way of each.
   */
  static async open(
    port: number,
    reload: () => Promise<ReloadOutcome>,
    folders: readonly SocketFolder[] = socketFolders(Deno.uid()!),
  ): Promise<ControlSocket> {
    const problems: string[] = [];
    for (const folder of folders) {
      const path = `${folder.path}/${socketName(port)}`;
      for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
        try {
          makeFolder(folder);
          await removeStale(folder, path);
          return new ControlSocket(path, folder, reload);
        } catch (error) {
          if (error instanceof Deno.errors.NotFound && attempt < ATTEMPTS) continue;
          problems.push(`${path}: ${error instanceof Error ? error.message : error}`);
          break;
        }
      }
    }
    throw new Error(problems.join("; "));
  }

  async #accept(): Promise<void> {
    for (;;) {
      let connection: Deno.UnixConn;
      try {
        connection = await this.#listener.accept();
      } catch (error) {
        if (error instanceof Deno.errors.BadResource) return;
        // A lack of descriptors passes.
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        continue;
      }
      // Who hangs up does not hear the outcome.
      this.#answer(connection).catch(() => {});
    }
  }

  async #answer(connection: Deno.UnixConn): Promise<void> {
    using _connection = connection;
    const outcome = isReload(await readLine(connection))
      ? await this.#reload()
      : { kind: "failed", issues: ["control socket: an unknown request found, reload wanted"] };
    const bytes = new TextEncoder().encode(`${JSON.stringify(outcome)}\n`);
    for (let sent = 0; sent < bytes.length;) sent += await connection.write(bytes.subarray(sent));
  }

  /** Nobody can ask any more; who has asked is still answered. */
  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      // The runtime removes it too, but sometimes later.
      Deno.removeSync(this.path);
      if (this.#folder.isOurs) Deno.removeSync(this.#folder.path);
    } catch {
      // Somebody has cleared up before, or another proxy's socket is in the folder.
    }
    this.#listener.close();
  }
}

function makeFolder(folder: SocketFolder): void {
  try {
    Deno.mkdirSync(folder.path, { mode: folder.isShared ? 0o700 : 0o755 });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  }
  if (!isSafeFolder(folder, Deno.uid()!)) throw new Error("the folder is not ours alone");
}

/** Removes what nobody listens at: `path`, whose name is ours, and what is old. @throws {Error} when somebody does there. */
async function removeStale(folder: SocketFolder, path: string): Promise<void> {
  for (const { name } of Deno.readDirSync(folder.path)) {
    const other = `${folder.path}/${name}`;
    if (!isSocketName(name) || (other !== path && !isOld(other))) continue;
    if (await isHeard(other)) {
      if (other === path) throw new Error("another proxy with that port listens there");
    } else Deno.removeSync(other);
  }
}

function isOld(path: string): boolean {
  const { mtime } = Deno.lstatSync(path);
  return mtime !== null && Date.now() - mtime.getTime() > STALE_MS;
}

async function isHeard(path: string): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return true;
  } catch (error) {
    // Of anything else, such as another user's socket, nothing is known.
    return !(error instanceof Deno.errors.ConnectionRefused);
  }
}

async function readLine(connection: Deno.UnixConn): Promise<string> {
  const buffer = new Uint8Array(MOST_REQUEST_BYTES);
  const timer = setTimeout(() => connection.close(), REQUEST_TIMEOUT_MS);
  try {
    for (let length = 0; length < buffer.length;) {
      const read = await connection.read(buffer.subarray(length));
      if (read === null) break;
      length += read;
      const end = buffer.subarray(0, length).indexOf(0x0a);
      if (end >= 0) return new TextDecoder().decode(buffer.subarray(0, end));
    }
    return "";
  } finally {
    clearTimeout(timer);
  }
}

function isReload(line: string): boolean {
  try {
    return (JSON.parse(line) as Partial<ControlRequest> | null)?.request === "reload";
  } catch {
    return false;
  }
}
