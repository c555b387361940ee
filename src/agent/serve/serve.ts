/** The sockets of an agent: CNI requests, the admin API and, where the settings ask for it, health and metrics over TCP. */
import type { Server } from 'node:http';
import type { Server as SocketServer } from 'node:net';
import type { Agent } from '../agent.ts';
import { apiHandlers, textHandlers } from './answers.ts';
import { serveApi, serveText } from './api-server.ts';
import { drainSpool, serveCni } from './cni-server.ts';
import type { AgentParts } from '../parts.ts';
import { API_SOCKET } from '#api/admin.ts';

/** Until the signal aborts. */
export async function serveAgent(agent: Agent, parts: AgentParts): Promise<void> {
  const { settings, signal, log, metrics } = parts;
  const { attachments } = agent;
  const cni = {
    path: `${settings.paths.run}/cni.sock`,
    handle: attachments.handle,
    versionOf: attachments.versionOf,
    log,
    metrics,
  };
  attachments.beforeFirstAdd = () => drainSpool(cni).then(() => undefined);
  const servers: (Server | SocketServer)[] = [
    await serveCni(cni),
    await serveApi(`${settings.paths.run}/${API_SOCKET}`, apiHandlers(agent), textHandlers(agent), {
      flows: agent.policing.flows?.lines,
    }),
  ];
  if (settings.listen !== undefined) servers.push(await serveText(settings.listen, textHandlers(agent)));
  log.info({ profile: settings.profile, version: agent.version }, 'the agent serves');
  await drainSpool(cni);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  for (const server of servers) server.close();
}
