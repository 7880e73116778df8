"""Histories that went wrong once, each under a name.

Times are seconds; every unnamed step happens at once and succeeds.
"""

import pytest

from tests.world.history import live
from tests.world.plans import HOUR, Act, Beginning, Fault, Plan
from tests.world.story import told

DAY = 24 * HOUR
OUT, NEW_OUT = Beginning("out", "out"), Beginning("out", "out", is_new=True)
BOTH = (Beginning("in", "out"), Beginning("out", "in"))


def act(at: float, what: str, *how: object, who: int = 0, told: tuple[float, ...] = (2.0,)) -> Act:
    """Return an act."""
    return Act(at, what, who, told, how)


def in_bulk(*acts: Act, faults: tuple[Fault, ...] = (), landings: tuple[float, ...] = (120.0,)) -> Plan:
    """Return a plan in which what she changes, while somebody else's sync is throttled, waits and goes in a bulk import before 1:15."""
    both = (act(1, "p.rename", False), act(1, "p.rename", False, who=1))
    waiting = (act(20, "p.rename", False, who=1), act(31, "p.rename", False))
    throttled = Fault(20, "klaviyo", "429", 26, about="POST /api/profile-import")
    return Plan(
        people=(Beginning("in", "in"), Beginning("in", "in")),
        acts=(*both, *waiting, *acts),
        faults=(throttled, *faults),
        landings=landings,
        many_syncs=1,
    )


STORIES: dict[str, Plan] = {
    **{
        f"she unsubscribes {seconds} s after our list subscribe was sent": Plan(
            people=(OUT,),
            acts=(act(10, "k.subscribe", "email"), act(23 + seconds, "k.unsubscribe", "email")),
            landings=(60.0,),
            master_list=True,
        )
        for seconds in (5, 30, 50)
    },
    **{
        f"she opts out in Omneo before our subscribe lands after {landing} s": Plan(
            people=(OUT,), acts=(act(5, "o.in", "email"), act(18, "o.out", "email")), landings=(landing, 5.0)
        )
        for landing in (10.0, 32.0)
    },
    "she opts out in Omneo before a subscribe that lands late, which Klaviyo tells an hour later": Plan(
        people=(OUT,),
        acts=(act(5, "o.in", "email"), act(60, "o.out", "email")),
        landings=(250.0, 2.0),
        echo=HOUR,
    ),
    "she opts out in Omneo while a flush that has read Omneo waits for Klaviyo": Plan(
        people=(OUT,),
        acts=(act(5, "k.subscribe", "email"), act(15, "o.out", "email")),
        faults=(Fault(5, "klaviyo", "slow", about="GET /api/profiles/*"),),
    ),
    "she opts out without a stamp while the interaction of her opt-in is refused for an hour": Plan(
        people=(OUT,),
        acts=(act(5, "k.subscribe", "email"), act(60, "o.out unstamped", "email")),
        faults=(Fault(5, "omneo", "503", HOUR, about="POST */interactions"),),
    ),
    "she opts out without a stamp after the answer of our write was lost": Plan(
        people=(OUT,),
        acts=(act(5, "k.subscribe", "email"), act(12.8, "o.out unstamped", "email")),
        faults=(Fault(5, "omneo", "lost after", about="PUT */comms"),),
    ),
    "she signs up, and swaps emails with somebody before that is brought to Omneo": Plan(
        people=BOTH, acts=(act(5, "k.subscribe", "email", who=1), act(10, "p.swap", who=1))
    ),
    "she opts in with a stamp and out without one before anybody looks, and an older sign-up is told later": Plan(
        people=(Beginning("in", "in"),),
        acts=(
            act(5, "k.subscribe", "email", told=(900.0,)),
            act(60, "o.in", "email", told=(900.0,)),
            act(120, "o.out unstamped", "email", told=(600.0,)),
        ),
    ),
    "she opts in again before her opt-out reaches Klaviyo and a day later unsubscribes by mail": Plan(
        acts=(act(5, "o.out", "email"), act(20, "o.in", "email"), act(DAY, "k.unsubscribe", "email")),
        faults=(Fault(5, "klaviyo", "503", 25.0, about="POST */profile-subscription-bulk-delete-jobs"),),
    ),
    **{
        f"she unsubscribes after an opt-in stamped {ahead} s ahead": Plan(
            people=(OUT,),
            acts=(act(5, "o.in ahead", "email", ahead), act(120, "k.unsubscribe", "email")),
        )
        for ahead in (30, 600, 36000)
    },
    "she opts out in Omneo before our text message subscribe lands": Plan(
        people=(OUT,), acts=(act(5, "o.in", "sms"), act(60, "o.out", "sms")), landings=(150.0, 5.0)
    ),
    "her opt-in is stamped ahead and Klaviyo holds her opt-out": Plan(
        people=(OUT,), acts=(act(5, "o.in ahead", "email", 5000),)
    ),
    "she opts out without a stamp a day after our subscribe landed": Plan(
        people=(OUT,), acts=(act(5, "o.in", "email"), act(DAY, "o.out unstamped", "email"))
    ),
    "her opt-in in Omneo follows our unsubscribe that has not landed": Plan(
        people=(Beginning("out", "in", is_new=True),), acts=(act(17.2, "o.in", "email"),), landings=(129.5,)
    ),
    "she unsubscribes in Klaviyo a moment after opting in in Omneo": Plan(
        acts=(act(83.4, "o.out", "email"), act(116.3, "o.in", "email"), act(116.8, "k.unsubscribe", "email")),
        landings=(6.1,),
    ),
    "a merchant suppresses her minutes after our unsubscribe": Plan(
        acts=(act(5, "o.out", "email"), act(330, "k.suppress", "email")), landings=(4.0,)
    ),
    "she signs up by text message again a day after our subscribe": Plan(
        people=(OUT,), acts=(act(5, "o.in", "sms"), act(DAY, "k.subscribe", "sms"))
    ),
    "an undated opt-in is resynced": Plan(
        people=(OUT,), acts=(act(5, "o.in unstamped", "email", told=()), act(60, "op.resync"))
    ),
    "the deletion comes an hour late and she has been restored": Plan(
        acts=(act(5, "p.delete", told=(HOUR,)), act(60, "p.restore"))
    ),
    "she is merged after a resync into one who takes her email": Plan(
        people=BOTH, acts=(act(5, "op.resync"), act(700, "p.merge", "takes the email"))
    ),
    "a parent in Klaviyo has the phone of a child in Omneo": Plan(
        people=(NEW_OUT,), acts=(act(0.5, "k.stranger"),)
    ),
    "her former email is another's before her own sync is through": Plan(
        acts=(act(5, "p.email"), act(30, "p.create", "out", "out", 0)),
        faults=(Fault(5, "klaviyo", "503", 40.0, about="* /api/profiles/*"),),
    ),
    **{
        f"she opts out in Omneo after this befell her: {what}": Plan(
            people=(Beginning("in", "in"), OUT),
            acts=(act(5, what), act(400, "o.out", "email"), act(800, "o.out", "sms")),
        )
        for what in ("p.drop email", "p.bad email", "p.bad phone", "p.drop phone", "p.exclude")
    },
    "an event names only the Omneo id of one whom Klaviyo knows by email": Plan(
        people=(Beginning("in", "out", is_new=True, is_known_by_email=True),),
        acts=(act(0.2, "s.event by id", told=(0.1,)),),
    ),
    "two profiles are merged in Omneo, and a process dies while Klaviyo merges them": Plan(
        people=(
            Beginning("in", "out", is_known_by_email=False),
            Beginning("in", "out", is_new=True, is_known_by_email=False),
        ),
        acts=(act(251.5, "o.in unstamped", "email"), act(288.6, "p.merge", "", who=1)),
        faults=(Fault(294.4, "queue", "dies after", about="queue put"),),
        landings=(86.9, 17.9, 70.0, 12.3, 7.3),
        skews=(1.4, -0.4),
        chance=413,
    ),
    "a merchant suppresses her and lifts the suppression": Plan(
        acts=(act(171.3, "k.suppress", "email", told=(2.0,)), act(327.0, "k.unsuppress", told=(2.0,))),
        landings=(7.1,),
    ),
    "two people swap their emails": Plan(people=BOTH, acts=(act(5, "p.swap"),)),
    "she is merged with one whom we have subscribed to text messages, and had opted out": Plan(
        people=(Beginning("out", "in", is_new=True), OUT),
        acts=(act(655.6, "p.merge", ""),),
        landings=(174.8,),
    ),
    "she is merged with one whose subscribe by text message lands only then": Plan(
        people=(OUT, Beginning("in", "in", is_new=True, is_known_by_email=True)),
        acts=(act(32.1, "p.merge", "takes the email", who=1),),
        landings=(149.0, 78.0, 2.0),
    ),
    "she takes over the email of one who had opted out and is merged with her": Plan(
        people=(Beginning("in", "in"), OUT),
        acts=(act(45.9, "p.create", "in", "in"), act(215.2, "p.merge", "takes the email", who=1)),
        landings=(6.9,),
    ),
    "she opts out in Omneo while Omneo's answer to a flush is on its way": Plan(
        acts=(
            act(30.4, "k.unsubscribe", "email"),
            act(196.9, "k.subscribe", "email", told=(4.6,)),
            act(218.2, "o.out", "email"),
        ),
        faults=(Fault(201.9, "omneo", "slow", about="POST *"),),
        landings=(7.5,),
    ),
    "she opts in without a stamp after her opt-in stamped ahead was taken back": Plan(
        people=(OUT,),
        acts=(act(82.7, "o.in ahead", "email", 33046), act(370.4, "o.in unstamped", "email")),
    ),
    "she opts in without a stamp twice although Klaviyo holds her opt-out": Plan(
        people=(OUT,), acts=(act(5, "o.in unstamped", "email"), act(170, "o.in unstamped", "email"))
    ),
    "a merchant suppresses her before two subscribes of ours land": Plan(
        people=(OUT,),
        acts=(act(5, "o.in", "email"), act(35, "o.in", "email"), act(65, "k.suppress", "email")),
        landings=(55.0, 70.0, 2.0),
    ),
    "she signs up by text message and leaves before our own subscribe lands": Plan(
        people=(Beginning("out", "in", is_new=True),),
        acts=(act(56.3, "k.subscribe", "sms"), act(108.2, "k.unsubscribe", "sms")),
        landings=(129.3,),
    ),
    "she takes her opt-out in Omneo back without a stamp": Plan(
        people=(OUT,),
        acts=(
            act(453.5, "o.in", "email"),
            act(490.9, "o.out", "email"),
            act(527.7, "o.in unstamped", "email", told=(HOUR,)),
        ),
        landings=(97.3, 13.2, 87.0),
    ),
    "somebody is deleted in Omneo while a run reads page after page": Plan(
        people=(Beginning("in", "out"),) * 7,
        acts=(act(5, "o.out", "email", who=4, told=()), act(600, "op.resync"), act(611.5, "p.delete")),
        page_size=4,
    ),
    "a new person has a phone that another takes before a run": Plan(
        people=(Beginning("out", "in"), Beginning("in", "in")),
        acts=(act(274, "p.create", "in", "out", who=1, told=()), act(378, "p.share phone", who=1)),
        landings=(78.0,),
    ),
    "two people swap their emails, and a run is the first to know": Plan(
        people=(Beginning("out", "in"), Beginning("in", "out"), Beginning("out", "in")),
        acts=(act(5, "p.swap", who=1, told=()),),
        landings=(7.4,),
    ),
    "who is excluded has given her email to another": Plan(
        people=(Beginning("in", "in"), Beginning("in", "in")),
        acts=(act(435.2, "p.give email", who=1), act(437.5, "p.exclude", who=1)),
        landings=(85.3,),
    ),
    "three people have one phone number": Plan(
        people=(Beginning("in", "in"), Beginning("in", "in"), Beginning("out", "in")),
        acts=(act(5, "p.share phone"), act(40, "p.share phone", who=1), act(90, "p.give email", who=1)),
    ),
    "she is merged into one who gives her email on before the merge is known": Plan(
        people=(Beginning("in", "out"), Beginning("in", "out"), OUT),
        acts=(
            act(136, "p.merge", "takes the email", told=(16.3, 18.9)),
            act(160.6, "p.swap", who=1),
        ),
        landings=(27.8,),
    ),
    "she is merged into one who opts out": Plan(
        people=BOTH, acts=(act(5, "p.merge", ""), act(400, "o.out", "email", who=1))
    ),
    "a merchant deletes her profile, and her sign-up is told hours later": Plan(
        people=(Beginning("out", "in", is_new=True),),
        acts=(
            act(80.7, "k.subscribe", "email", told=(6 * HOUR,)),
            act(326.8, "o.out unstamped", "email", told=(243.6,)),
            act(397.7, "k.delete"),
        ),
        landings=(42.0,),
    ),
    "a merchant deletes her profile, and her opt-out is told hours later": Plan(
        people=(Beginning("in", "in"),),
        acts=(
            act(80, "k.unsubscribe", "email", told=(6 * HOUR,)),
            act(300, "k.delete"),
            act(400, "p.phone"),
        ),
    ),
    "she is merged while our subscribe of hers is under way": Plan(
        people=(
            Beginning("in", "out", is_new=True, is_known_by_email=True),
            Beginning("in", "in", is_new=True, is_known_by_email=True),
        ),
        acts=(act(43.9, "p.merge", ""),),
        landings=(54.1, 176.9, 6.0, 23.8, 58.1),
        chance=5520,
    ),
    "two swap their emails, and one opts out before Klaviyo knows of it": Plan(
        people=(Beginning("in", "out"), Beginning("in", "in"), Beginning("in", "in")),
        acts=(act(338.4, "p.swap", who=2), act(340.4, "k.unsubscribe", "email")),
        landings=(56.3,),
    ),
    "she is deleted while our subscribe is under way": Plan(
        people=(Beginning("in", "in", is_new=True, is_known_by_email=True),),
        acts=(act(34.8, "p.delete"),),
        landings=(94.5, 48.2),
    ),
    "she leaves a phone number to a profile whose person is deleted": Plan(
        people=(Beginning("in", "out"), Beginning("in", "in")),
        acts=(act(369, "p.share phone"), act(768, "o.in", "sms"), act(773.8, "p.delete", who=1)),
        landings=(28.0,),
    ),
    "two share an email, one signs up, and a merchant deletes the other's profile": Plan(
        people=(Beginning("out", "in", is_known_by_email=True), Beginning("in", "in")),
        acts=(
            act(11.7, "p.share email", who=1),
            act(315.9, "k.subscribe", "email", who=1),
            act(618.2, "p.give email", who=1),
            act(1001.2, "k.delete"),
        ),
        landings=(23.8,),
    ),
    "her sign-up is told after our subscribe that she had taken back was undone": Plan(
        people=(OUT,),
        acts=(
            act(411.9, "o.in", "email"),
            act(426.2, "k.suppress", "email"),
            act(445.6, "k.subscribe", "email", told=()),
        ),
        landings=(109.0,),
    ),
    "her opt-out of text messages takes an opt-in to email back that is stamped ahead": Plan(
        people=(Beginning("in", "in"),),
        acts=(
            act(5, "k.unsubscribe", "email"),
            act(400, "o.in ahead", "email", 9000, told=(HOUR,)),
            act(402, "k.unsubscribe", "sms"),
        ),
    ),
    "she signs up twice in a second after she has opted out, and our own landing is told hours later": Plan(
        people=(Beginning("out", "in"),),
        acts=(
            act(21.9, "o.in", "email", told=(3.7,)),
            act(166.1, "o.out", "email", told=(279.4,)),
            act(171, "k.subscribe", "email", told=(0.8,)),
            act(171.9, "k.subscribe", "email", told=(4.4,)),
        ),
        landings=(10.8,),
        chance=7195,
        page_size=4,
    ),
    "she signs up after she has opted out, and our own landing is told hours later": Plan(
        people=(Beginning("out", "in"),),
        acts=(
            act(21.9, "o.in", "email"),
            act(166.1, "o.out", "email"),
            act(171, "k.subscribe", "email"),
        ),
        landings=(10.8,),
        chance=7195,
        page_size=4,
    ),
    "she signs up when Klaviyo has had her new email for some seconds, and another her former one": Plan(
        people=(Beginning("out", "in"), Beginning("in", "in")),
        acts=(act(5, "p.give email"), act(22, "k.subscribe", "email")),
    ),
    "our unsubscribe of who is excluded has not landed when her email is another's": Plan(
        people=(Beginning("in", "in"), Beginning("in", "in")),
        acts=(act(5, "o.out", "email"), act(20, "p.give email"), act(21, "p.exclude")),
        landings=(85.0,),
    ),
    "she opts out at an email that was another's, and a run is the first to know that it is hers": Plan(
        people=(Beginning("in", "in"), Beginning("in", "in")),
        acts=(
            act(5, "p.phone"),
            act(6, "p.phone", who=1),
            act(300, "p.give email", told=()),
            act(400, "k.unsubscribe", "email", who=1),
        ),
    ),
    "she opts out, and later gives her email to another": Plan(
        people=(Beginning("in", "in"), Beginning("in", "in")),
        acts=(act(5, "k.unsubscribe", "email", told=(15.0,)), act(400, "p.give email")),
    ),
    "she opts out of emails without a stamp while a flush writes that she has left text messages": Plan(
        people=(NEW_OUT,),
        acts=(
            act(305.9, "o.in ahead", "sms", 23490),
            act(317, "o.in", "email"),
            act(318.8, "o.out unstamped", "email"),
        ),
        faults=(Fault(308.5, "klaviyo", "503"),),
        landings=(34.1,),
        skews=(-1.8, 1.1),
        chance=8253,
        page_size=4,
    ),
    "her sign-up is told after an opt-out without a stamp that nobody knows to be the later one": Plan(
        people=(Beginning("in", "in"),),
        acts=(
            act(392.2, "k.subscribe", "email", told=(285.3,)),
            act(396.3, "o.out unstamped", "email"),
        ),
        landings=(61.1,),
        master_list=True,
    ),
    "two swap their emails, which is told late, and one unsubscribes and has none any more before it is": Plan(
        people=(Beginning("in", "in"), Beginning("in", "in")),
        acts=(
            act(125.7, "p.swap", who=1, told=(222.7,)),
            act(163.1, "k.unsubscribe", "email"),
            act(193.9, "p.bad email"),
        ),
    ),
    "our subscribe lifts her complaint, is taken back, and she opts in in Omneo later": Plan(
        people=(Beginning("in", "in", is_new=True, is_known_by_email=True),),
        acts=(act(31.8, "k.spam", "email"), act(410.1, "o.in", "email")),
        landings=(34.2,),
    ),
    **{
        f"she leaves and signs up again {gap} s later, told after {left} and {back} s, before our subscribe lands, told after {echo} s": Plan(
            people=(OUT,),
            acts=(
                act(5, "o.in", "email"),
                act(22, "k.unsubscribe", "email", told=(left,)),
                act(22 + gap, "k.subscribe", "email", told=(back,)),
            ),
            landings=(60.0,),
            echo=echo,
        )
        for gap, left, back, echo in (
            (4, 2.0, 2.0, 2.0),
            (4, 120.0, 2.0, 2.0),
            (4, 2.0, 120.0, 2.0),
            (4, 30.0, 2.0, HOUR),
            (12, 30.0, 2.0, 2.0),
            (40, 120.0, 2.0, 2.0),
        )
    },
    "she who never was synced changes her email while the master list's subscribe is under way": Plan(
        people=(Beginning("in", "out"),),
        acts=(act(308.7, "k.subscribe", "email"), act(338.3, "p.email")),
        landings=(59.0,),
        master_list=True,
    ),
    "a customer of whom our call has told is merged into another, who gets no texts": Plan(
        people=(Beginning("in", "in", is_new=True, is_known_by_email=True), Beginning("in", "out")),
        acts=(act(89350.0, "p.merge", ""),),
        landings=(33.4,),
    ),
    "one of two with one email is deleted in Omneo, and signs up by text message before a sync knows": Plan(
        people=(OUT, Beginning("in", "out")),
        acts=(
            act(36496.6, "p.share email", who=1),
            act(36619.3, "p.delete"),
            act(36655.1, "k.subscribe", "sms"),
        ),
        faults=(Fault(36593.4, "klaviyo", "dies before", about="*"),),
        landings=(61.3,),
    ),
    "she is restored after another with her email has got her Klaviyo profile": Plan(
        people=(OUT, Beginning("in", "out")),
        acts=(act(36496.6, "p.share email", who=1), act(36619.3, "p.delete"), act(37036.2, "p.restore")),
        landings=(61.3,),
    ),
    "two whom Omneo alone knows get one email at once, which Klaviyo knows of somebody": Plan(
        people=(
            Beginning("out", "out", is_new=True, is_known_by_email=True),
            Beginning("out", "in", is_new=True, is_known_by_email=True),
        ),
        acts=(act(5, "p.share email"),),
    ),
    "she changes while an import with her older name is under way": in_bulk(
        act(75, "p.rename", False, who=1)
    ),
    "her name is emptied while an import with it is under way": in_bulk(act(75, "p.rename", True, who=1)),
    "she changes while an import is under way whose answer was lost": in_bulk(
        act(75, "p.rename", False, who=1),
        faults=(Fault(20, "klaviyo", "lost after", about="POST /api/profile-bulk-import-jobs"),),
        landings=(170.0, 5.0),
    ),
    "she opts out while her import is under way": in_bulk(act(75, "o.out", "email", who=1)),
    "she is merged into another while her import is under way": in_bulk(act(75, "p.merge", "", who=1)),
    "she is deleted while her import is under way": in_bulk(act(75, "p.delete", who=1)),
    "the process dies when her import was taken, before that was noted": in_bulk(
        act(75, "p.rename", False, who=1),
        faults=(Fault(20, "klaviyo", "dies after", about="POST /api/profile-bulk-import-jobs"),),
        landings=(170.0, 5.0),
    ),
    "she is restored after one with her email got her Klaviyo profile, and is deleted": Plan(
        people=(Beginning("out", "in"), Beginning("in", "out")),
        acts=(
            act(441.6, "k.delete"),
            act(547.1, "p.share email", who=1),
            act(705.8, "p.delete", who=1),
            act(841.3, "p.delete"),
            act(842.4, "p.restore", who=1),
        ),
        landings=(25.0,),
    ),
    "one is merged into her and she is deleted, both while Omneo does not answer": Plan(
        people=(Beginning("in", "in", is_new=True), Beginning("in", "in")),
        acts=(act(21.9, "p.merge", ""), act(104.1, "p.delete", who=1)),
        faults=(Fault(16, "omneo", "lost before", 1034.8),),
        landings=(9.6,),
    ),
    **{
        f"her {what} was another's, told after {hers} and {theirs} s, when she {act_} through the other's profile, told after {late} s": Plan(
            people=(Beginning("in", "in"), Beginning("in", "in")),
            acts=(
                act(5, f"p.share {what}", who=1, told=(hers,)),
                act(6, f"p.{what}", told=(theirs,)),
                act(12, "k.unsubscribe", channel, who=1, told=(late,)),
            ),
        )
        for what, channel, act_ in (("phone", "sms", "texts STOP"), ("email", "email", "unsubscribes"))
        for hers, theirs, late in (
            (300.0, 300.0, 2.0),
            (300.0, 40.0, 500.0),
            (20.0, 300.0, 100.0),
            (20.0, 15.0, 500.0),
        )
    },
    **{
        f"our {channel} subscribe, whose answer was lost, lands twice, and she leaves in between, which is told late": Plan(
            people=(OUT,),
            acts=(act(5, "o.in", channel), act(leaves, "k.unsubscribe", channel, told=(500.0,))),
            faults=(Fault(6, "klaviyo", "lost after", about="POST */profile-subscription-bulk-create-jobs"),),
            landings=landings,
            echo=echo,
        )
        for channel, leaves, echo, landings in (
            ("sms", 40, 2.0, (20.0, 120.0, 3.0)),
            ("email", 70, 400.0, (150.0, 170.0, 3.0)),
        )
    },
    "she who took in another is excluded, and gives the other's email on": Plan(
        people=(Beginning("in", "out", is_new=True, is_known_by_email=True), Beginning("in", "in")),
        acts=(
            act(30.6, "p.merge", "takes the email", who=1),
            act(85.4, "p.exclude"),
            act(388.6, "p.create", "in", "in", who=1),
            act(720.3, "p.give email"),
        ),
        landings=(5.9,),
        double_opt_in=True,
    ),
    "she who took in another is excluded, and opts out": Plan(
        people=(Beginning("in", "in"), Beginning("in", "in")),
        acts=(
            act(30.6, "p.merge", "takes the email", who=1, told=(60.0,)),
            act(32.4, "p.exclude", told=(2.0,)),
            act(400, "o.out", "email"),
        ),
    ),
    "one who is out is merged into her, and she signs up before Klaviyo has merged them": Plan(
        people=(Beginning("in", "out"), Beginning("out", "in")),
        acts=(
            act(155.1, "o.out", "email"),
            act(722.9, "p.merge", "", who=1, told=(7.8, 7.8)),
            act(749.5, "k.subscribe", "email"),
        ),
        landings=(9.5,),
    ),
    **{
        f"one who has just signed up by {channel} is merged into her, who is out, told after {told} s": Plan(
            people=(Beginning("out", "out"), Beginning("out", "out")),
            acts=(act(50.6, "k.subscribe", channel, who=1, told=(told,)), act(60, "p.merge", "", who=1)),
            landings=(28.7,),
        )
        for channel in ("email", "sms")
        for told in (2.0, 900.0)
    },
    **{
        f"she unsubscribes after an opt-in stamped {ahead} s ahead, and the sync can only run when the stamp is past": Plan(
            people=(OUT,),
            acts=(
                act(5, "o.in ahead", "email", ahead),
                act(5 + ahead // 2, "k.unsubscribe", "email", told=(1000.0,)),
            ),
            faults=(Fault(5, "klaviyo", "503", lasts),),
        )
        for ahead, lasts in ((20, 60.0), (300, 600.0))
    },
    **{
        f"she unsubscribes after an opt-in stamped {ahead} s ahead, and {run} comes before the sync, when the stamp is past": Plan(
            people=(OUT,),
            acts=(
                act(5, "o.in ahead", "email", ahead),
                act(5 + ahead // 2, "k.unsubscribe", "email", told=(2000.0,)),
                act(20 + ahead, f"op.{run}"),
            ),
            faults=(Fault(5, "klaviyo", "503", lasts, about="* /api/profile-import*"),),
        )
        for run in ("repair", "resync")
        for ahead, lasts in ((60, 400.0), (300, 900.0))
    },
    **{
        f"she who has opted out gives her phone to another, who texts START through her profile, told after {late} s": Plan(
            people=(Beginning("in", "out"), Beginning("in", "out")),
            acts=(
                act(5, "p.email"),
                act(105, "p.share phone", who=1, told=(hers,)),
                act(106, "p.phone", told=(theirs,)),
                act(112, "k.subscribe", "sms", who=1, told=(late,)),
            ),
        )
        for hers, theirs, late in ((300.0, 300.0, 2.0), (20.0, 15.0, 500.0))
    },
    **{
        f"two share a phone, and one texts STOP through the other's profile, told after {late} s, before {then}": Plan(
            people=(Beginning("out", "in"), Beginning("out", "in")),
            acts=(
                act(50, "p.share phone"),
                act(300, "k.unsubscribe", "sms", told=(late,)),
                act(350, what, who=who),
            ),
        )
        for late in (2.0, 400.0)
        for then, what, who in (
            ("she has another", "p.phone", 0),
            ("the other has another", "p.phone", 1),
            ("the other is deleted", "p.delete", 1),
        )
    },
    "one who has opted out of texts takes in another in Omneo, whose phone is a third's by then": Plan(
        people=(
            Beginning("out", "in"),
            Beginning("in", "out", is_new=True),
            Beginning("out", "out", is_new=True, is_known_by_email=True),
        ),
        acts=(
            act(100, "k.subscribe", "sms", who=1),
            act(121, "p.share phone", who=1),
            act(147, "k.unsubscribe", "sms"),
            act(279, "p.merge", "", who=2),
        ),
        landings=(24.7,),
    ),
    "she complains with an email that Omneo has with her for seconds, in which nobody looks": Plan(
        people=(Beginning("in", "out"), Beginning("in", "out")),
        acts=(act(353.7, "p.swap"), act(354.9, "k.spam", "email"), act(358.5, "p.give email")),
        landings=(138.2,),
    ),
    "two share an email, who have opted out, and one signs up again of which Klaviyo records no event": Plan(
        people=(OUT, Beginning("in", "in")),
        acts=(
            act(360.3, "p.share email"),
            act(461.2, "k.suppress", "email"),
            act(890.4, "k.subscribe", "email"),
        ),
        repeats_consent_events=False,
    ),
    "one who has opted in is merged into one who is excluded and had opted out long before": Plan(
        people=(OUT, Beginning("in", "out")),
        acts=(act(219, "o.in", "sms"), act(592.5, "p.exclude", who=1), act(695.7, "p.merge", "")),
        landings=(101.4,),
    ),
    "she has the email of one who then has none, while the second of our two subscribes to her own is still to land": Plan(
        people=(
            Beginning("in", "in", is_new=True),
            Beginning("out", "out", is_new=True, is_known_by_email=True),
        ),
        acts=(act(17.2, "o.in", "email"), act(77.4, "p.share email"), act(172.7, "p.drop email", who=1)),
        landings=(57.8, 25.9, 173.2, 112.3, 165.6),
    ),
    "two swap their emails, and one, who has opted out of texts, is deleted before her sync, which is never told": Plan(
        people=(Beginning("out", "out", is_new=True, is_known_by_email=True), Beginning("out", "in")),
        acts=(act(464.4, "p.swap"), act(473.4, "p.delete", told=())),
        landings=(6.8,),
        page_size=4,
    ),
    "she is new and has the email of one who has opted out of texts and is gone, which is never told": Plan(
        people=(Beginning("in", "out"), Beginning("in", "in", is_new=True)),
        acts=(act(3, "p.give email"), act(4, "p.delete", told=())),
    ),
    "she signs up through a Klaviyo profile that is merged into another of hers, which is told a day later": Plan(
        people=(Beginning("out", "in", is_new=True, is_known_by_email=True), Beginning("in", "out")),
        acts=(act(5.8, "k.subscribe", "email", told=(107061.9,)), act(8.6, "p.merge", "", who=1)),
        landings=(4.0,),
    ),
    "she opts in with a stamp ahead, and unsubscribes, and both are told when the stamp lies ahead no more": Plan(
        people=(OUT,),
        acts=(
            act(458.2, "o.in ahead", "email", 31337, told=(41002.0,)),
            act(462.7, "k.unsubscribe", "email", told=(142255.7,)),
        ),
        landings=(7.1,),
    ),
    "her Klaviyo profile is deleted, and the process dies before it queues the first job of a resync": Plan(
        acts=(act(148.1, "k.delete"),),
        faults=(Fault(76311.2, "queue", "dies before"),),
        landings=(6.6,),
    ),
    **{
        f"two share an {what} for a moment, in which one opts out through the other's profile, told after {late} s": Plan(
            people=(OUT, Beginning("in", "in")),
            acts=(
                act(61.7, f"p.share {what}", who=1),
                act(66.5, out, channel, who=1, told=(late,)),
                act(103, gives),
            ),
            landings=(11.1,),
        )
        for what, out, channel, gives in (
            ("email", "k.suppress", "email", "p.give email"),
            ("phone", "k.unsubscribe", "sms", "p.phone"),
        )
        for late in (2.0, 20.0, 300.0)
    },
    "a merchant deletes her Klaviyo profile, and a repair asks for her consent to texts before a resync": Plan(
        people=(Beginning("out", "in"),),
        acts=(act(143.6, "op.repair"), act(55.6, "k.delete")),
        landings=(26.6,),
    ),
    "she opts out in Omneo right before our write of her sign-up, which replaces her opt-out there": Plan(
        acts=(
            act(28.2, "o.out", "email"),
            act(60.9, "o.in", "sms"),
            act(98.9, "k.subscribe", "email", told=(1.0,)),
            act(101.4, "o.out", "email"),
        ),
        landings=(49.3, 6.8, 5.6, 4.4, 142.0),
        skews=(1.4, -0.4),
        chance=31517,
    ),
    "she unsubscribes with the email of another, who gets it back before Klaviyo tells of that": Plan(
        people=(Beginning("out", "in"), Beginning("in", "out")),
        acts=(
            act(92.1, "p.swap"),
            act(95.3, "k.unsubscribe", "email", who=1, told=(177.8,)),
            act(166.3, "p.swap"),
        ),
    ),
    "she signs up, and opts out in Omneo seconds after our write, which the ledger shows": Plan(
        people=(OUT,),
        acts=(
            act(29.7, "k.spam", "email"),
            act(56161.2, "k.subscribe", "email"),
            act(56174.9, "o.out", "email"),
        ),
        landings=(9.5,),
        page_size=4,
    ),
    **{
        f"she signs up with the email of another, who gets it back before Klaviyo tells of that, {kind}": Plan(
            people=(Beginning("out", "out", is_known_by_email=True), OUT),
            acts=(
                *acts,
                act(76.2, "k.unsubscribe", "email"),
                act(87.4, "p.give email", who=1, told=(247.5,)),
                act(89.5, "k.subscribe", "email"),
                act(100, "p.swap"),
            ),
            landings=(3.8,),
            master_list=True,
            returns_own_changes=True,
            page_size=4,
        )
        for kind, acts in (("and is synced", ()), ("and is excluded", (act(67.8, "p.exclude"),)))
    },
    "she is merged into one who has opted out and is excluded, and who takes her email, while our call for her is slow": Plan(
        people=(Beginning("in", "out", is_new=True, is_known_by_email=True), OUT),
        acts=(
            act(5.9, "o.out", "email", who=1),
            act(6.4, "p.exclude", who=1),
            act(21.4, "p.merge", "takes the email"),
        ),
        faults=(Fault(10.2, "klaviyo", "slow", about="POST *"),),
        landings=(44.0,),
        skews=(0.2, 0.7),
        chance=10510,
    ),
    "she opts in in Omneo with a stamp, signs up, and opts out in Omneo without one, before our write of her sign-up": Plan(
        people=(Beginning("in", "in"),),
        acts=(
            act(38.1, "k.subscribe", "email"),
            act(169.2, "o.in", "email"),
            act(170.8, "k.subscribe", "email"),
            act(180.4, "o.out unstamped", "email"),
            act(189.8, "k.delete"),
        ),
        landings=(25.1,),
        skews=(-0.7, -0.6),
    ),
    "two share an email, and one signs up with it, without an event, when Omneo has another with the other": Plan(
        people=(OUT, Beginning("in", "in")),
        acts=(
            act(360.3, "p.share email"),
            act(461.2, "k.suppress", "email"),
            act(571.7, "p.email", who=1, told=(25600.4,)),
            act(890.4, "k.subscribe", "email"),
        ),
        landings=(117.0,),
        repeats_consent_events=False,
        page_size=4,
    ),
    "she is deleted, and so suppressed by us, and restored, and another has swapped emails with her": Plan(
        people=(Beginning("in", "out"), Beginning("in", "in")),
        acts=(act(272.4, "p.delete"), act(321.3, "p.restore"), act(322.5, "p.swap")),
        landings=(9.4,),
    ),
    "who has shared her email with another is deleted, which is never told, and texts STOP from her own number": Plan(
        people=(Beginning("out", "out", is_known_by_email=True), Beginning("out", "in")),
        acts=(
            act(104513.4, "p.share email", who=1),
            act(104914.4, "p.delete", told=()),
            act(104914.6, "k.unsubscribe", "sms"),
        ),
        landings=(66.4,),
        page_size=4,
    ),
    "the edge answers 404 in HTML once": Plan(
        people=(OUT,),
        acts=(act(5, "p.create", "in", "out"),),
        faults=(Fault(5, "klaviyo", "404 html"),),
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_it_ends_well_when(name: str) -> None:
    lived = live(STORIES[name])
    if lived.went_wrong:
        pytest.fail(told(lived), pytrace=False)
