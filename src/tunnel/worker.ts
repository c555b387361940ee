/** Where a worker thread of the tunnel starts. */
import { parentPort, workerData } from 'node:worker_threads';
import type { WorkerStart } from './mail.ts';
import { runReceiver } from './receiver.ts';
import { runSender } from './sender.ts';

const start = workerData as WorkerStart;
if (parentPort === null) throw new Error('not a worker thread');
(start.role === 'sender' ? runSender : runReceiver)(start, parentPort);
parentPort.close();
start.port.close();
