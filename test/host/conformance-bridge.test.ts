import { BRIDGE } from '../conformance/bridge.ts';
import { runCases } from '../conformance/case.ts';
import { REFERENCES, TARTANS } from '../conformance/openings.ts';

runCases([...REFERENCES, ...TARTANS], BRIDGE);
