// Random legal teams of the simulator's singles formats, for trying every one of them.
//
//   node random_teams.js SIMULATOR COUNT SEED [FORMAT ...]      default: all singles formats
//
// Prints a line of JSON a format: {"format", "teams": [packed, ...], "reason"}. `teams` is empty
// and `reason` is what the validator said last where none was found; a format whose teams the
// simulator makes itself has null. Pokémon are drawn with abilities, items and moves that they can
// have and join the team if the validator has nothing against it.
'use strict';

const path = require('path');
const [simulator, count, seed, ...named] = process.argv.slice(2);
const {Dex, PRNG, TeamValidator, Teams, toID} = require(path.resolve(simulator));
Object.assign(globalThis, {Dex, TeamValidator, Teams, toID}); // the rules of some formats use them
const CANDIDATES = 4000;
const TOO_FEW = /^You must bring at least|^You don't have|must have at least|^(You|Your team).* at least/;

/** A Pokémon with everything drawn at random, mostly attacks. */
function drawSet(dex, validator, prng, species) {
	const {ruleTable} = validator;
	const free = ruleTable.has('obtainablemoves') ?
		[...dex.species.getMovePool(species.id, ruleTable.has('natdexrule') || /natdex|nationaldex/.test(validator.format.id))] :
		dex.moves.all().filter(move => !move.isZ && !move.isMax && move.gen <= dex.gen).map(move => move.id);
	const pool = free.map(id => dex.moves.get(id)).filter(move => move.exists && !move.realMove);
	const attacks = pool.filter(move => move.basePower > 0);
	const moves = new Set();
	for (let tries = 0; moves.size < Math.min(4, pool.length) && tries < 40; tries++) {
		const from = attacks.length && prng.randomChance(3, 5) ? attacks : pool;
		moves.add(prng.sample(from).name);
	}
	const items = dex.gen < 2 ? [] : dex.items.all().filter(item =>
		item.gen <= dex.gen && (!item.isNonstandard || item.megaStone || item.zMove) && !item.isPokeball);
	const own = items.filter(item => item.itemUser?.includes(species.name));
	const level = ruleTable.maxTotalLevel ? ruleTable.minLevel : ruleTable.adjustLevel || ruleTable.maxLevel;
	return {
		name: '', species: species.name, moves: [...moves],
		ability: dex.gen < 3 ? 'No Ability' : prng.sample(Object.values(species.abilities)),
		item: !items.length ? '' : own.length && prng.randomChance(1, 2) ? prng.sample(own).name :
			prng.randomChance(1, 8) ? '' : prng.sample(items).name,
		nature: dex.gen < 3 ? '' : prng.sample(dex.natures.all()).name,
		evs: dex.gen < 3 || ruleTable.evLimit === 0 ?
			undefined : {hp: 84, atk: 85, def: 84, spa: 84, spd: 84, spe: 84},
		level, teraType: dex.gen === 9 ? prng.sample(dex.types.names().filter(type => type !== 'Stellar')) : undefined,
	};
}

/** What the validator has against a team; it throws where it lacks data. */
function judge(validator, team) {
	try {
		return validator.validateTeam(team) || [];
	} catch (error) {
		return [String(error.message)];
	}
}

/** A team that the validator accepts, or null; what it said last is kept in `said`. */
function drawTeam(validator, prng, said, known) {
	const {dex, ruleTable, format} = validator;
	const all = dex.species.all().filter(species =>
		species.gen <= dex.gen && species.exists && species.num > 0 && !species.battleOnly && !known.has(species.id));
	const size = Math.min(6, ruleTable.maxTeamSize);
	let team = [];
	for (let i = 0; i < CANDIDATES && team.length < size; i++) {
		const species = prng.sample(all);
		const set = drawSet(dex, validator, prng, species);
		const alone = JSON.parse(JSON.stringify([...team, set]));
		const problems = judge(validator, alone).filter(problem => !TOO_FEW.test(problem));
		if (!problems.length) {
			team.push(set);
		} else {
			said.last = problems[0];
			if (/ is (banned|not|tagged|in)\b|not available|does not exist/.test(problems[0]) &&
				problems[0].startsWith(species.name + ' is')) known.add(species.id);
		}
	}
	if (team.length < Math.max(1, Math.min(ruleTable.minTeamSize, size))) return null;
	const problems = judge(validator, team);
	if (problems.length) {
		said.last = problems[0];
		return null;
	}
	return Teams.pack(team);
}

for (const format of Dex.formats.all()) {
	if (format.effectType !== 'Format' || format.gameType !== 'singles') continue;
	if (named.length && !named.includes(format.id)) continue;
	if (format.team) {
		console.log(JSON.stringify({format: format.id, teams: null, reason: ''}));
		continue;
	}
	const said = {last: ''};
	const teams = [];
	try {
		const validator = TeamValidator.get(format.id);
		const prng = new PRNG(`gen5,${Number(seed).toString(16).padStart(16, '0')}`);
		const known = new Set();
		for (let i = 0; i < count + 2 && teams.length < count; i++) {
			const team = drawTeam(validator, prng, said, known);
			if (team) teams.push(team);
		}
	} catch (error) {
		said.last = String(error.stack || error).slice(0, 300);
	}
	console.log(JSON.stringify({format: format.id, teams, reason: teams.length ? '' : said.last}));
}
