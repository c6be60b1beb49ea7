/**
 * Asks a running proxy to read its configuration again, and hears what became of that.
 *
 * @module
 */
import type { ControlRequest } from "./control_socket.ts";
import { isSafeFolder, portOfSocket, socketFolders } from "./control_socket_path.ts";
import type { ReloadOutcome } from "./reload.ts";
import { StartError } from "./start_error.ts";

/** Longer than names may take to be resolved and rules to be exchanged. */
const OUTCOME_TIMEOUT_MS = 60_000;

/** A proxy that can be asked. */
interface FoundProxy {
  readonly port: number;
  readonly path: string;
}

/**
 * Asks the proxy at `socket`, or the one of this network namespace and of `port`, or the only one.
 *
 * @throws {StartError} when there is none, several, or one that does not answer.
 */
export async function askReload(
  { port, socket }: { readonly port: number | undefined; readonly socket: string | undefined },
): Promise<ReloadOutcome> {
  if (socket !== undefined) return await ask(await connectTo(socket), socket);
  const found = findProxies().filter((proxy) => port === undefined || proxy.port === port);
  const heard: { proxy: FoundProxy; connection: Deno.UnixConn }[] = [];
  const problems: string[] = [];
  for (const proxy of found) {
    try {
      heard.push({ proxy, connection: await connect(proxy.path) });
    } catch (error) {
      // What a killed one left, or one that has just stopped.
      if (error instanceof Deno.errors.ConnectionRefused || error instanceof Deno.errors.NotFound) continue;
      problems.push(`${proxy.path}: ${error instanceof Error ? error.message : error}`);
    }
  }
  const [first, ...others] = heard;
  if (first !== undefined && others.length === 0) return await ask(first.connection, first.proxy.path);
  for (const { connection } of heard) connection.close();
  if (first !== undefined) {
    const ports = heard.map(({ proxy }) => proxy.port).join(", ");
    throw new StartError(
      "not-running",
      `reload: proxies with the ports ${ports} found, one wanted`,
      "name it by --port",
    );
  }
  const which = port === undefined ? "" : ` with port ${port}`;
  throw new StartError(
    "not-running",
    `reload: no proxy${which} found in this network namespace that this user may speak to` +
      (problems.length === 0 ? "" : `: ${problems.join("; ")}`),
    "run it as the proxy's user, where the proxy runs; `kill -HUP` to its process does the same and tells its log",
  );
}

/** In all places where one of this user may be, each port once. */
function findProxies(): FoundProxy[] {
  const uid = Deno.uid()!;
  return socketFolders(uid).filter((folder) => isSafeFolder(folder, uid)).flatMap(({ path }) =>
    namesIn(path).flatMap((name) => {
      const port = portOfSocket(name);
      return port === undefined ? [] : [{ port, path: `${path}/${name}` }];
    })
  ).filter(({ path }, i, all) => all.findIndex((one) => one.path === path) === i);
}

function namesIn(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map(({ name }) => name);
  } catch {
    // Not there, or not for us to see.
    return [];
  }
}

function connect(path: string): Promise<Deno.UnixConn> {
  return Deno.connect({ transport: "unix", path });
}

async function connectTo(path: string): Promise<Deno.UnixConn> {
  try {
    return await connect(path);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new StartError("not-running", `reload: ${path}: ${why}`, "a running proxy has its socket there");
  }
}

async function ask(connection: Deno.UnixConn, path: string): Promise<ReloadOutcome> {
  using _connection = connection;
  const timer = setTimeout(() => connection.close(), OUTCOME_TIMEOUT_MS);
  try {
    const request: ControlRequest = { request: "reload" };
    await connection.write(new TextEncoder().encode(`${JSON.stringify(request)}\n`));
    let text = "";
    const decoder = new TextDecoder(), buffer = new Uint8Array(64 * 1024);
    for (let read; (read = await connection.read(buffer)) !== null;) {
      text += decoder.decode(buffer.subarray(0, read), { stream: true });
    }
    return JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new StartError(
      "not-running",
      `reload: ${path}: no outcome was told: ${why}`,
      "the proxy's log says it",
    );
  } finally {
    clearTimeout(timer);
  }
}
